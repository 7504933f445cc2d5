#!/usr/bin/env bash
# A throw-away SLURM of one node for the tests: everything lies in one folder, /etc is left alone.
#
#   cluster.sh up FOLDER     bring it up; prints nothing where all went well
#   cluster.sh down FOLDER   cancel its jobs and stop its daemons
#
# With FOLDER/bin at the front of PATH and SLURM_CONF=FOLDER/slurm.conf, sbatch and its like talk to
# it. The node has two GPUs, which are links to harmless devices, and the processors that
# SLURM_TEST_CPUS says (8). Debian's packages are installed where they are missing, which needs root.
set -euo pipefail
command=$1 folder=$2
export SLURM_CONF=$folder/slurm.conf

install_packages() {
    # Installing must not start a cluster of the machine's own.
    local policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap "rm $policy" EXIT; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends slurm-wlm munge
}

up() {
    if ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
        [ "$(id -u)" = 0 ] || { echo "SLURM is not installed, and only root can install it" >&2; exit 1; }
        command -v apt-get >/dev/null || { echo "SLURM is not installed, and there is no apt-get" >&2; exit 1; }
        install_packages >"$folder/apt.log" 2>&1 || { tail -n 3 "$folder/apt.log" >&2; exit 1; }
    fi
    mkdir -p "$folder"/{bin,spool,state,munge}
    chmod 700 "$folder/munge"
    configure
    # A key and a socket of its own, so that an authentication service of the machine is not asked.
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 600 "$folder/munge/key"
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" 2>"$folder/munged.err"
    slurmctld
    slurmd
    for _ in $(seq 300); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then exit 0; fi
        sleep 0.2
    done
    tail -n 3 "$folder"/*.log >&2
    exit 1
}

configure() {
    local host memory ports
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.8) }' /proc/meminfo)
    ports=($(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'))
    # SLURM wants devices; their numbers become those in CUDA_VISIBLE_DEVICES.
    ln -sf /dev/null "$folder/gpu0"
    ln -sf /dev/zero "$folder/gpu1"
    cat >"$folder/gres.conf" <<END
NodeName=$host Name=gpu Type=fake File=$folder/gpu0 Flags=nvidia_gpu_env
NodeName=$host Name=gpu Type=fake File=$folder/gpu1 Flags=nvidia_gpu_env
END
    # MinJobAge: squeue knows of ended jobs for as long as a test asks. cred_expire: a job that is put
    # back into the queue starts again after so many seconds, where 120 are usual.
    cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$folder/munge.socket,cred_expire=20
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdSpoolDir=$folder/spool
StateSaveLocation=$folder/state
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
DefMemPerCPU=500
KillWait=5
MinJobAge=3600
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=${SLURM_TEST_CPUS:-8} RealMemory=$memory Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=60 State=UP
PartitionName=gpu Nodes=ALL MaxTime=60 State=UP
END
    # The executor takes SLURM_CONF out of the environment in which a job starts its step.
    cat >"$folder/bin/srun" <<END
#!/bin/sh
SLURM_CONF=$folder/slurm.conf exec $(command -v srun) "\$@"
END
    chmod +x "$folder/bin/srun"
}

down() {
    squeue --noheader --format=%A 2>/dev/null | xargs --no-run-if-empty scancel 2>/dev/null || true
    local daemon process
    for daemon in slurmd slurmctld munged; do
        process=$(cat "$folder/$daemon.pid" 2>/dev/null) || continue
        kill "$process" 2>/dev/null || continue
        while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
    done
}

$command
