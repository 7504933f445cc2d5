# What is known before any file is read, and how steps are called.
import json
import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from renal.cluster.containers import image_of
from renal.cluster.gpus import visible_gpus
from renal.cluster.locks import in_use
from renal.cluster.slurm import refuse_orphans, refuse_unquotable
from renal.data.stamps import stamps
from renal.errors import InputError
from renal.handover.seals import SEAL
from renal.learn.nnunet.layout import PLANS, STAGE, planned_folder, raw_folder
from renal.plan import RANKS, named, read_plan
from renal.recipe import averaging, imported, label_options, models_of, voting
from renal.settings import as_json
from renal.sources import INSTALLED

# `renal` in a rule's shell command is the package that planned the job, installed or not, run by
# the same interpreter, unless Snakemake was asked to make a conda environment. No module of the
# working folder is imported in place of a library's, and a step ends with its Snakemake.
deployed = workflow.deployment_settings.deployment_method
in_conda = DeploymentMethod.CONDA in deployed
in_container = DeploymentMethod.APPTAINER in deployed
if (in_conda or in_container) and ROOT == INSTALLED:
    sys.exit("error: --sdm: environments and images know no installed package: use a clone")
python = "python" if in_conda or in_container else shlex.quote(sys.executable)
package = shlex.quote(str(ROOT / "workflow"))
shell.prefix(
    "set -euo pipefail; export PYTHONSAFEPATH=1 RENAL_PARENT=$PPID; "
    f'renal() {{{{ PYTHONPATH={package} exec {python} -m renal "$@"; }}}}; '
)

# What Snakemake can tell of the rules on a machine without data.
LOOKING = {"--lint", "-l", "--rulegraph", "--dag", "--filegraph", "--d3dag", "--containerize"}

try:
    plan = read_plan(config, stand_in=bool(LOOKING & set(sys.argv)))
    trained_there = any(row.nnunet for row in plan.recipes.values())
    IMAGE = image_of(ROOT, nnunet=trained_there) if in_container else None
except InputError as error:
    sys.exit(f"error: {error}")
RESULTS = plan.results
DATA = str(plan.configuration.data.root)
FILES = str(plan.files)
COMPUTE = plan.configuration.compute
LABELS = label_options(plan.labels)
log_of, benchmark_of = plan.log_of, plan.benchmark_of
BFLOAT16 = ["--bfloat16-on-cpu"] if COMPUTE.bfloat16_on_cpu else []


container: IMAGE


wildcard_constraints:
    method="|".join(plan.recipes),
    stage=r"[a-z][a-z0-9_]*",
    fold=r"\d+",
    batch=r"(fold\d+|test|unlabelled)-\d+",
    group=r"fold\d+|(test|unlabelled)-\d+",
    hash=r"[0-9a-f]{8}",
    weights="|".join(map(re.escape, plan.pretrained)) or "(?!)",
    region=r"[0-9a-z.]+-[0-9a-f]{8}",
    scope="|".join(["all", *plan.methods]),


# Snakemake does not know yet who executes the jobs while it reads the rules.
@cache
def local_gpus():
    """GPUs of this machine, where no scheduler hands them out."""
    return visible_gpus() if workflow.local_exec else []


def on_gpu():
    """Whether jobs that can use a GPU have one: a scheduler is asked for it."""
    return bool(local_gpus()) or not workflow.local_exec


# Not `onstart`, which Snakemake leaves out where this workflow is a module of another one.
@cache
def begin():
    """What comes before the first job of a run: every run asks for the inputs of `validate`."""
    runs = workflow.executor_plugin is not None and not (workflow.dryrun or workflow.touch)
    if not (workflow.is_main_process and runs):
        return
    try:
        # Without a scheduler as many jobs use a GPU at once as there are GPUs.
        if local_gpus() and "gpu" not in workflow.global_resources:
            workflow.register_resource("gpu", len(local_gpus()))
        if not workflow.local_exec:
            nnunet = plan.configuration.nnunet.python
            refuse_unquotable(Path.cwd(), ROOT, plan.configuration.data.root, RESULTS, nnunet)
            refuse_orphans(Path.cwd())
        if not (workflow.execution_settings.lock and in_use(RESULTS)):
            plan.store()
            plan.forget_transient_faults()
            for path in plan.left_over:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except InputError as error:
        sys.exit(f"error: {error}")


def by_row(paths):
    """What each row has, as steps take it."""
    return named({method: [path] for method, path in zip(plan.methods, paths)})


def no_files(wildcards):
    """The inputs of `validate`: there are none that Snakemake knows of."""
    begin()
    return []
