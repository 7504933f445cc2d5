"""CPU seconds that the checks of `validate` take for a case, beside reading its files.

python benchmarks/checks.py KITS19_FOLDER [CASE ...]

In one process and thread, after its imports. Reading is what unpacks an image and a label and
sums up their bytes; the checks are all else that `check_case` does: of intensities, posture, the
label's place and its content.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from renal.data import validation
from renal.data.cases import find_cases

READING = ("read_header", "read_padded", "read_label", "_crc32")
CHECKS = ("check_intensities", "check_posture", "check_place", "check_content")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("root", type=Path)
    options.add_argument("cases", nargs="*")
    a = options.parse_args()
    seconds: dict[str, float] = {}

    def timed(name: str) -> Callable[..., Any]:
        function = getattr(validation, name)

        def work(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            result = function(*arguments, **named)
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
            return result

        return work

    for name in (*READING, *CHECKS):
        setattr(validation, name, timed(name))
    rows = []
    for case in find_cases(a.root):
        if a.cases and case.name not in a.cases:
            continue
        seconds.clear()
        started = time.process_time()
        checked = validation.check_case(case, maximum_voxels=600_000_000)
        whole = time.process_time() - started
        reading = sum(seconds.get(name, 0.0) for name in READING)
        shape = checked.shape or [0, 0, 0]
        rows.append(
            {
                "case": case.name,
                "shape": "x".join(map(str, shape)),
                "megavoxels": round(np.prod(shape) / 1e6, 1),
                "reading": round(reading, 3),
                **{name: round(seconds.get(name, 0.0), 3) for name in CHECKS},
                "checks": round(whole - reading, 3),
                "fault": checked.fault,
            }
        )
    table = pd.DataFrame(rows).sort_values("megavoxels")
    print(table.to_string(index=False))
    sound = table[table.fault == ""]
    slope, start = np.polyfit(sound.megavoxels, sound.checks, 1)
    print(f"checks: {start:.3f} + {1000 * slope:.2f} / 1000 CPU s a megavoxel; at most", end=" ")
    print(f"{sound.checks.max():.3f}, median {sound.checks.median():.3f} of {len(sound)} cases")


if __name__ == "__main__":
    main()
