"""CPU seconds that sealing and comparing take, beside the work of a finished run.

python benchmarks/seals.py PROJECT

PROJECT is a folder with the program, its configuration in run.yaml, and its results. For every
step of its run, what the step is given is compared with its seal and what it wrote is summed up
once more; the seconds of work are those that the step's log told.
"""

import argparse
import collections
import os
import re
import sys
import time
from pathlib import Path

import faults
import pandas as pd
from corrupt import commands

sys.path.insert(0, str(faults.REPOSITORY / "workflow"))

from renal.__main__ import READ_BY_PEOPLE, handed_over, parser
from renal.handover.checked import read_checked
from renal.handover.checksums import checksum
from renal.handover.seals import check_seal, visible_files


def seconds_of_seals(a: argparse.Namespace) -> float:
    """CPU seconds of comparing what a step is given, and of summing up what it wrote."""
    started = time.process_time()
    for path in handed_over(a):
        check_seal(path)
    if a.step not in READ_BY_PEOPLE:
        for path in visible_files(a.output) if a.output.is_dir() else [a.output]:
            checksum(path)
    return time.process_time() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("project", type=Path)
    os.chdir(options.parse_args().project)
    seals, work = collections.defaultdict(list), collections.defaultdict(list)
    cases = 0
    for command in commands(Path.cwd()):
        a = parser().parse_args(command)
        step = a.step.__name__
        seals[step].append(seconds_of_seals(a))
        told = re.findall(r"finished after ([\d.]+) s of work", a.log.read_text())
        work[step].append(float(told[-1]))
        if step == "validate":
            cases += len(read_checked(a.output))
    rows = [
        {
            "step": step,
            "jobs": len(seconds),
            "work s": round(sum(work[step]), 2),
            "seals CPU s": round(sum(seconds), 4),
            "for a case": round(sum(seconds) / cases, 5),
        }
        for step, seconds in seals.items()
    ]
    print(pd.DataFrame(rows).sort_values("work s", ascending=False).to_string(index=False))
    sealing, working = (sum(sum(part) for part in parts.values()) for parts in (seals, work))
    print(f"{cases} cases: {sealing:.3f} CPU s of seals, {sealing / cases:.4f} s a case")
    print(f"share of the run's {working:.0f} s of work: {sealing / working:.2%}")


if __name__ == "__main__":
    main()
