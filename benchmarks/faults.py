"""A small run killed at random moments, or on a disk that is full at random moments.

python benchmarks/faults.py kills [--times 30] [--seed 0] [--counts kills.json]
python benchmarks/faults.py full-disk [--times 10] [--seed 0]   (as root: mounts a small disk)

Each time the run is started again; at the end models, segmentations, scores and tables must be
those of an undisturbed run, byte for byte. `kills` ends snakemake and all its jobs with SIGKILL,
several times in each phase of a run, and counts the phases that were hit in a file, so that a
hundred kills can be done in pieces.
`full-disk` leaves a random amount of space for project, results and Snakemake records: the run
must end with an error that says so, and go on once there is space.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = ("Snakefile", "rules", "workflow", "envs", "profiles", "config.yaml")
COMPARED = ("*/*/fold*/model.safetensors", "*/segmentation/*.nii.gz", "*/scores.csv", "tables/cv.*")
COMMAND = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2"]
DISK_MB = 400
KILLS_IN_A_PHASE = 3
# Phase to its rules; `report` is the tables and pictures.
PHASES = {
    "prepare": ("resample", "window_normalize", "crop_body", "crop_true_roi", "crop_roi"),
    "train": ("train",),
    "predict": ("predict",),
    "merge": ("merge",),
    "evaluate": ("evaluate",),
    "report": ("write_tables", "draw_overlays", "draw_curves", "draw_located"),
}


def make_project(folder: Path) -> None:
    """Two folds of tiny networks on four labelled cases and an unlabelled one."""
    for name in PROGRAM:
        source = REPOSITORY / name
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    stage = {
        "geometry": {"size": [16, 32, 32]},
        "training": {"network": {"width": 2}, "epochs": 30},
    }
    configuration = {
        "data": {"root": "data"},
        "methods": ["resvnet"],
        "folds": {"count": 2},
        "batch_size": 2,
        "compute": {"prepare_threads": 1, "train_threads": 1, "predict_threads": 1},
        "overrides": {"resvnet": {"stages": {"whole": stage, "tumour": stage}}},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(configuration))
    # A state after every epoch, so that kills among them matter.
    loop = folder / "workflow/renal/learn/training.py"
    text = loop.read_text()
    assert "SECONDS_BETWEEN_STATES = 60.0" in text
    loop.write_text(text.replace("SECONDS_BETWEEN_STATES = 60.0", "SECONDS_BETWEEN_STATES = 0.0"))
    phantom = [sys.executable, "-m", "renal", "phantom", "--labelled", "4", "--unlabelled", "1"]
    phantom += ["--seed", "0", "--size", "64", "--output", "data"]
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow")}
    subprocess.run(phantom, cwd=folder, env=environment, check=True)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def finish(folder: Path) -> float:
    """Run to the end; returns the seconds that took."""
    started = time.monotonic()
    done = snakemake(folder)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return time.monotonic() - started


def checksums(folder: Path) -> dict[str, str]:
    results = folder / "results"
    paths = sorted(path for pattern in COMPARED for path in results.glob(pattern))
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def running_steps(session: int) -> set[str]:
    """The steps of the package that processes of a session are at."""
    listed = subprocess.run(
        ["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False
    )
    commands = (line.split() for line in listed.stdout.splitlines())
    return {
        command[3] for command in commands if command[1:3] == ["-m", "renal"] and len(command) > 3
    }


def phase_of(steps: set[str]) -> str | None:
    """The phase that some steps belong to; None where there is none."""
    return next((phase for phase, rules in PHASES.items() if steps & set(rules)), None)


def kill_within(folder: Path, aim: str, draw: random.Random) -> str | None:
    """Start, kill a moment after a step of the phase `aim` has begun, unlock.

    Returns the phase that was hit; None where the run had ended without one.
    """
    run = subprocess.Popen(
        COMMAND,
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while phase_of(running_steps(run.pid)) != aim:
        if run.poll() is not None:
            assert run.returncode == 0, f"exit status {run.returncode}"
            return None
        time.sleep(0.05)
    # Most of a step's time is its imports.
    time.sleep(draw.uniform(0, 4))
    hit = phase_of(running_steps(run.pid))
    if run.poll() is None:
        subprocess.run(["pkill", "-9", "--session", str(run.pid)], check=True)
    run.wait()
    unlocked = snakemake(folder, "--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    return hit or "between"


def kill_all_phases(
    disturbed: Path, expected: dict[str, str], times: int, stored: Path, draw: random.Random
) -> list[str]:
    """Kill so often, some times in each phase of a run; returns the files that differ in the end.

    The counts of phases are stored after each kill.
    """
    hits = dict.fromkeys([*PHASES, "between"], 0)
    if stored.exists():
        hits |= json.loads(stored.read_text())
    different = []
    aims = [phase for phase in PHASES for _ in range(KILLS_IN_A_PHASE)]
    last = sum(hits.values()) + times
    while sum(hits.values()) < last:
        for name in ("results", ".snakemake"):
            shutil.rmtree(disturbed / name, ignore_errors=True)
        killed = 0
        for aim in aims[: last - sum(hits.values())]:
            hit = kill_within(disturbed, aim, draw)
            if hit is None:  # the phase was over before
                break
            killed += 1
            hits[hit] += 1
            stored.write_text(json.dumps(hits) + "\n")
            print(f"{sum(hits.values())}: aimed at {aim}, hit {hit}", flush=True)
        assert killed, f"no step of {aims[0]} was met"
        finish(disturbed)
        different += differences(expected, disturbed)
        print(f"finished after {killed} kills; {len(different)} files differ so far", flush=True)
    print(", ".join(f"{phase} {count}" for phase, count in hits.items()))
    return different


def fill_at_random(folder: Path, kilobytes: int) -> str:
    """Run with so much space left, then give the space back; returns how it ended."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, free - 1024 * kilobytes))
    run = snakemake(folder)
    ballast.unlink()
    said = run.stdout + run.stderr
    assert run.returncode == 0 or "No space left" in said or "free space" in said, said[-3000:]
    snakemake(folder, "--unlock")
    hidden = {path.name for path in (folder / "results").rglob(".*") if path.is_file()}
    hidden = {name for name in hidden if not name.endswith(".seal.json")}
    assert hidden <= {".snakemake_timestamp"}, f"half-written: {hidden}"
    return f"{kilobytes} kB free: " + ("failed" if run.returncode else "finished")


def differences(expected: dict[str, str], folder: Path) -> list[str]:
    """Files of a finished run that are missing, too many or not as expected."""
    found = checksums(folder)
    return [
        path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fault", choices=["kills", "full-disk"])
    parser.add_argument("--times", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, default=Path("kills.json"))
    a = parser.parse_args()
    draw = random.Random(a.seed)
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed, disturbed = (Path(temporary) / part for part in ("undisturbed", "disturbed"))
        undisturbed.mkdir()
        make_project(undisturbed)
        shutil.copytree(undisturbed, disturbed)
        seconds = finish(undisturbed)
        expected, different = checksums(undisturbed), []
        print(f"undisturbed run: {seconds:.0f} s", flush=True)
        if a.fault == "kills":
            different += kill_all_phases(disturbed, expected, a.times or 30, a.counts, draw)
        else:
            disk = Path(temporary) / "disk"
            disk.mkdir()
            size = f"size={DISK_MB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", disk], check=True)
            try:
                shutil.copytree(disturbed, disk, dirs_exist_ok=True)
                for number in range(a.times or 10):
                    told = fill_at_random(disk, int(10 ** draw.uniform(1, 4)))
                    print(f"{number + 1}: {told}", flush=True)
                shutil.rmtree(disturbed)
                shutil.copytree(disk, disturbed)
            finally:
                subprocess.run(["umount", disk], check=True)
        finish(disturbed)
        different += differences(expected, disturbed)
    print(f"{len(expected)} files compared, {len(different)} differ", *different, sep="\n  ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
