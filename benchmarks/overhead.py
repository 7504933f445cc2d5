"""Share of the cores' time that the demo's jobs spend on work, not on starting or waiting.

python benchmarks/overhead.py [--cores N]

Runs the demo into a temporary folder. Work is what each step's log says it spent after its
imports; every step of the demo uses one core. The wall time is that of the whole run, planning
and the last single jobs included, so that the share is a lower bound.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, results = Path(folder) / "data", Path(folder) / "results"
        phantom = ["phantom", "--labelled", "30", "--unlabelled", "2", "--seed", "0"]
        phantom += ["--size", "192", "--threads", str(a.cores), "--output", str(data)]
        subprocess.run([sys.executable, "-m", "renal", *phantom], check=True)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        command += ["--configfile", str(REPOSITORY / "demo.yaml"), "--cores", str(a.cores)]
        command += ["--config", f"results={results}", f"data={{root: {data}}}"]
        started = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        wall = time.monotonic() - started
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        work = defaultdict(list)
        for path in results.glob("logs/*/*.log"):
            seconds = re.search(r"finished after ([\d.]+) s of work", path.read_text())
            assert seconds, f"{path}: not finished"
            work[path.parent.name].append(float(seconds[1]))
    rows = [{"rule": r, "jobs": len(s), "work s": round(sum(s), 1)} for r, s in work.items()]
    print(pd.DataFrame(rows).sort_values("work s", ascending=False).to_string(index=False))
    busy = sum(sum(seconds) for seconds in work.values())
    print(f"wall time {wall:.0f} s on {a.cores} cores, work {busy:.0f} s")
    print(f"share of the cores' time spent on work: {busy / (wall * a.cores):.0%}")


if __name__ == "__main__":
    main()
