"""CPU seconds of tabulating, comparing and drawing many rows, with made-up scores.

python benchmarks/comparison.py [--rows 30] [--cases 489]
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

# BLAS would otherwise be timed on as many threads as there are cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from renal.evaluate.comparison import compare
from renal.report.comparison import write_comparison
from renal.report.comparison_pictures import draw_comparison
from renal.report.settings import Row
from renal.report.tables import write_tables

FOLDS = 5


def write_scores(folder: Path, rows: int, cases: int) -> dict[str, Path]:
    """A scores.csv for each row, in which cases are hard for all and rows differ by little."""
    random = np.random.default_rng(0)
    hard = random.beta(8, 2, cases)
    paths = {}
    for number in range(rows):
        table = pd.DataFrame({"case": [f"case_{case:05d}" for case in range(cases)]})
        table["method"], table["family"], table["fold"] = f"row{number}", "made_up", 0
        table["fold"] = np.arange(cases) % FOLDS
        for region, loss in (("kidney", 0.2), ("tumour", 1.0)):
            spread = random.normal(0, 0.1 * loss, cases)
            dice = np.clip(1 - loss * (1 - hard) + spread - 0.003 * number, 0, 1)
            table[f"{region}_dice"] = dice
            table[f"{region}_hd95"] = np.where(dice > 0.2, random.gamma(2, 4, cases), np.nan)
            table[f"{region}_surface_dice"] = table[f"{region}_surface_area_dice"] = dice**2
            table[f"{region}_volume_error"] = random.normal(0, 0.1, cases)
            table[f"located_{region}"] = 1.0
        table["tumour_detection"] = np.where(table["tumour_dice"] > 0, "found", "missed")
        table["composite"] = (table["kidney_dice"] + table["tumour_dice"]) / 2
        grids = [table.assign(grid=grid) for grid in ("native", "resampled", "ceiling")]
        paths[f"row{number}"] = folder / f"row{number}.csv"
        pd.concat(grids).round(6).to_csv(paths[f"row{number}"], index=False)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--cases", type=int, default=489)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_scores(folder, a.rows, a.cases)
        methods = {row: Row(family="made_up", title=row, published=None) for row in paths}
        scores = list(paths.values())
        seconds = {}
        started = time.process_time()
        write_tables(scores, methods, folder / "tables")
        seconds["tabulated"] = time.process_time() - started
        started = time.process_time()
        found = compare(scores, {row: (row,) for row in paths})
        seconds["tested"] = time.process_time() - started
        started = time.process_time()
        write_comparison(found, methods, folder / "tables")
        seconds["written"] = time.process_time() - started
        started = time.process_time()
        listed = pd.DataFrame({"case": found["cases"]["case"].unique()})
        listed["tumour_ml"], listed["spacing_z_mm"] = 20.0, 3.0
        listed.to_csv(folder / "cases.csv", index=False)
        draw_comparison(folder / "tables", folder / "cases.csv", folder / "tables")
        seconds["drawn"] = time.process_time() - started
    seconds["together"] = sum(seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{a.rows} rows, {a.cases} cases, peak {peak:.0f} MB")
    for what, took in seconds.items():
        print(f"{what:10} {took:6.1f} CPU s")


if __name__ == "__main__":
    main()
