"""What each method learns from few cases at reduced sizes, against its ceiling, from three seeds.

python benchmarks/study.py DATA WORK [--cases N] [--seeds 0 1 2] [--cores N]

Runs the workflow with `study.yaml` on the first labelled cases of DATA (KiTS19's layout), three
folds of them, each trained from its own seed, so that every case is held out once. What is in WORK
is not made again: a study that was stopped goes on. At the end stands a line for each row: Dice on
the native grid, and what is missing to the ceiling, which is what the truth scores after it went
through the method's grids, with a 95 % interval over the cases and its median, what each seed has
by itself, the Dice of tumours from 30 ml and below, and the share of the truth that the last stage
of a cascade saw.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from renal.data.cases import find_cases
from renal.evaluate.statistics import bca, draws
from renal.handover.checked import read_checked
from renal.report.tables import markdown_tables

REPOSITORY = Path(__file__).resolve().parents[1]
STUDY = REPOSITORY / "benchmarks/study.yaml"
REGIONS = ("kidney", "tumour")
SAMPLES = 10_000
LARGE_ML = 30


def run(data: Path, work: Path, cases: int, seeds: list[int], cores: int) -> None:
    """Train and score every row on each seed's fold."""
    found = [case.name for case in find_cases(data) if case.labelled]
    here = {"data": {"root": str(data.resolve()), "exclude": found[cases:]}}
    work.mkdir(parents=True, exist_ok=True)
    (work / "data.yaml").write_text(yaml.safe_dump(here | {"results": str(work / "results")}))
    for seed in seeds:
        targets = [str(scores(work, row, seed)) for row in rows()]
        command = [sys.executable, "-m", "snakemake", *targets, "--cores", str(cores)]
        command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--keep-going", "--configfile"]
        command += [str(STUDY), str(work / "data.yaml"), "--config", f"compute={{seed: {seed}}}"]
        subprocess.run(command, cwd=REPOSITORY, check=True)


def rows() -> list[str]:
    methods: list[str] = yaml.safe_load(STUDY.read_text())["methods"]
    return methods


def scores(work: Path, row: str, seed: int) -> Path:
    return work / f"results/{row}/scores/fold{seed}.csv"


def tumour_ml(work: Path) -> pd.Series:
    """Volume of each case's tumours by the truth."""
    records = (work / "results/cases").glob("[!.]*.json")  # seals have names with a dot before
    cases = [case for path in records for case in read_checked(path).values()]
    return pd.Series({case.name: case.volumes_ml["tumour"] for case in cases})


def figures(tables: list[pd.DataFrame], tumour_ml: pd.Series) -> dict[str, str]:
    """A row's Dice, what it lacks of its ceiling, each seed's, by size, and what was located."""
    every = pd.concat(tables).set_index("case")
    native, ceiling = (every[every["grid"] == grid] for grid in ("native", "ceiling"))
    found = {}
    for region in REGIONS:
        column = f"{region}_dice"
        lacking = ceiling[column] - native[column]
        values = np.stack([native[column], lacking])
        bounds = zip(*bca(values, draws(len(native), SAMPLES)), strict=True)
        for title, mean, (low, high) in zip(
            (region, f"{region} lacks"), values.mean(axis=1), bounds, strict=True
        ):
            found[title] = f"{mean:.3f} ({low:.3f} to {high:.3f})"
        found[f"{region} lacks, median"] = f"{lacking.median():.3f}"
        means = [table[table["grid"] == "native"][column].mean() for table in tables]
        found[f"{region}, each seed"] = ", ".join(f"{mean:.2f}" for mean in means)
        located = native[f"located_{region}"].mean()
        found[f"{region} located"] = "" if np.isnan(located) else f"{located:.3f}"
    large = tumour_ml.reindex(native.index) >= LARGE_ML
    for title, those in ((f"from {LARGE_ML} ml", large), ("below", ~large)):
        found[f"tumour {title}"] = f"{native['tumour_dice'][those].mean():.3f}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cores", type=int, default=2)
    a = parser.parse_args()
    work = a.work.resolve()
    run(a.data, work, a.cases, a.seeds, a.cores)
    sizes = tumour_ml(work)
    lines = [
        {"row": row, **figures([pd.read_csv(scores(work, row, seed)) for seed in a.seeds], sizes)}
        for row in rows()
    ]
    print("\n".join(markdown_tables({"Held-out Dice": pd.DataFrame(lines)})))


if __name__ == "__main__":
    main()
