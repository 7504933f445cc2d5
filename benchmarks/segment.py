"""How long one command takes for a CT, and how much memory: every method at its full width.

python benchmarks/segment.py IMAGING [--label SEGMENTATION] [--rows ROW...] [--cts N] [--bfloat16]

Models have random weights, which take as long as trained ones. They find no kidneys: what a true
label says is taken for it; without one the regions of later stages may be the whole volume. A row
is packed, and N copies of the CT are segmented by `renal segment` as a program of its own. CPU
seconds are those of all threads; on a busy machine they say more than the clock.
"""

import argparse
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROWS = ["resvnet", "mrbnet", "damnet", "msvnet", "tunet"]
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--label", type=Path)
    parser.add_argument("--rows", nargs="+", default=ROWS)
    parser.add_argument("--cts", type=int, nargs="+", default=[1])
    parser.add_argument("--folds", type=int, nargs="+", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true")
    a = parser.parse_args()
    print("| row | models, MB | CTs | seconds a CT | CPU seconds a CT | memory, GB |")
    print("|---|---|---|---|---|---|")
    for row in a.rows:
        with tempfile.TemporaryDirectory() as folder:
            package = packed(row, a.image, Path(folder))
            for count in a.cts:
                clock, cpu, gigabytes = timed(package, count, a, Path(folder))
                size = package.stat().st_size / 1e6
                print(
                    f"| `{row}` | {size:.0f} | {count} | {clock / count:.1f} | {cpu / count:.1f} "
                    f"| {gigabytes:.1f} |",
                    flush=True,
                )


def packed(row: str, image: Path, folder: Path) -> Path:
    """The package of a row with random weights."""
    # Here, so that the program that is timed does not load them.
    from random_models import write_results

    from renal.apply.export import export
    from renal.data.cases import Case
    from renal.data.validation import check_case
    from renal.recipe import check_configuration

    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    values |= {"results": str(folder / "results"), "methods": [row]}
    configuration = check_configuration(values)
    case = check_case(Case("case", image, None), maximum_voxels=10**9)
    write_results(configuration, [case])
    export(row, configuration, folder / f"{row}.renal")
    return folder / f"{row}.renal"


def timed(
    package: Path, count: int, a: argparse.Namespace, folder: Path
) -> tuple[float, float, float]:
    """Seconds by the clock and of the CPU, and GB, of a program that segments copies of a CT."""
    cts = folder / f"cts{count}"
    cts.mkdir()
    for number in range(count):
        (cts / f"{number}.nii.gz").symlink_to(a.image.resolve())
    arguments = ["segment", str(cts), "--model", str(package), "--to", str(folder / "out")]
    arguments += ["--threads", str(a.threads), *(["--bfloat16-on-cpu"] if a.bfloat16 else [])]
    arguments += ["--folds", *map(str, a.folds)] if a.folds else []
    program = [sys.executable, __file__, "as-program", str(a.label or ""), *arguments]
    started = time.monotonic()
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    told = process.stderr.read() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(told)
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def as_program(label: str, arguments: list[str]) -> None:
    """`python -m renal`; once networks have computed, they have found what a true label says."""
    if label:
        find_truth(Path(label))
    sys.argv = ["renal", *arguments]
    runpy.run_module("renal", run_name="__main__")


def find_truth(path: Path) -> None:
    """Put a true label's regions in the place of what networks with random weights find."""
    import numpy as np

    from renal.apply import stages
    from renal.image.boxes import Box, three
    from renal.image.grids import labels_to_grid
    from renal.image.volume import read_header, read_label
    from renal.labels import KITS19
    from renal.learn.mean_predictor import MeanPredictor
    from renal.learn.targets import maps_of

    truth = read_label(read_header(path))
    seen = stages._seen
    boxes: list[Box] = []

    def remembered(*arguments: Any) -> Any:
        found, images = seen(*arguments)
        boxes[:] = found
        return found, images

    class TrueMaps(MeanPredictor):
        def predict(self, images: list[np.ndarray]) -> list[np.ndarray]:
            found = []
            for maps, box in zip(super().predict(images), boxes, strict=True):
                names, (depth, *plane) = maps_of(self.settings.target), maps.shape[1:]
                if plane == [1, 1]:  # of slices
                    grid = labels_to_grid(truth, box, (depth, 64, 64)).max((1, 2), keepdims=True)
                else:
                    grid = labels_to_grid(truth, box, three(maps.shape[1:]))
                found.append(np.stack([KITS19.region(name).mask(grid) for name in names]) * 1.0)
            return found

    vars(stages).update(_seen=remembered, MeanPredictor=TrueMaps)


if __name__ == "__main__":
    if sys.argv[1:2] == ["as-program"]:
        as_program(sys.argv[2], sys.argv[3:])
    else:
        main()
