"""CPU seconds and peak memory of planning five methods on many cases.

python benchmarks/planning.py [CASES ...]

The methods have resvnet's shape: four variants of it that differ in training alone and therefore
share their preparation (as a paper's table rows do), or, with --apart, in their grids, so that
nothing is shared (as five papers).
Two tenths of the cases are unlabelled. Case files are empty, because planning opens none.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def plan(cases: int, apart: bool) -> dict[str, object]:
    """Plan in a fresh copy of the program."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("Snakefile", "rules", "workflow", "envs", "config.yaml"):
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
            copy(REPOSITORY / name, project / name)
        methods = ["resvnet"]
        for number in range(2, 6):
            stages: dict[str, object] = {"whole": {"training": {"epochs": number}}}
            if apart:
                stages = {
                    "whole": {"geometry": {"size": [64 + 16 * number, 160, 160]}},
                    "tumour": {"geometry": {"size": [32 + 16 * number, 96, 96]}},
                }
            methods.append(f"variant{number}")
            recipe = project / f"workflow/methods/variant{number}.yaml"
            recipe.write_text(yaml.safe_dump({"extends": "resvnet", "stages": stages}))
        for number in range(cases):
            case = project / f"data/kits19/case_{number:05d}"
            case.mkdir(parents=True)
            (case / "imaging.nii.gz").touch()
            if number < 0.8 * cases:
                (case / "segmentation.nii.gz").touch()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--config"]
        command += [f"methods={methods}"]
        started = time.monotonic()
        with (project / "plan.txt").open("w") as output:
            process = subprocess.Popen(command, cwd=project, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
        text = (project / "plan.txt").read_text()
        if status:
            sys.exit(text[-2000:])
        total = re.search(r"^total +(\d+)", text, re.M)
        assert total, text[-2000:]
        return {
            "cases": cases,
            "preparation": "apart" if apart else "shared",
            "jobs": int(total[1]),
            "CPU s": round(usage.ru_utime + usage.ru_stime, 1),
            "wall s": round(time.monotonic() - started, 1),
            "peak MB": round(usage.ru_maxrss / 1024),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=int, nargs="*", default=[210, 1000, 10000])
    parser.add_argument("--apart", action="store_true")
    a = parser.parse_args()
    print(pd.DataFrame([plan(cases, a.apart) for cases in a.cases]).to_string(index=False))


if __name__ == "__main__":
    main()
