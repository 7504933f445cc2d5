"""CPU seconds and peak memory of preparing a case, and of bringing a prediction back.

python benchmarks/cases.py KITS19_FOLDER [CASE ...]

Each figure is of a fresh process with one thread, after its imports. `prepare` is crop_body,
resample and window_normalize of resvnet's first stage; `regions` is crop_roi with the true mask;
`merge` brings the truth on both grids back and writes the segmentation.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

STEPS = ("prepare", "regions", "merge")


def measure(root: Path, name: str, step: str, folder: Path) -> dict[str, float]:
    """Run one step on one case in this process."""
    from renal import recipe
    from renal.evaluate.merge import merge
    from renal.handover.checked import CheckedCase
    from renal.handover.predictions import write_probabilities
    from renal.handover.prepared import read_index, read_labels, write_index
    from renal.image.volume import read_header
    from renal.labels import KITS19
    from renal.prepare.crop_body import crop_body
    from renal.prepare.crop_roi import crop_roi, true_mask
    from renal.prepare.resample import resample
    from renal.prepare.window_normalize import window_normalize

    recipes = {"resvnet": recipe.load_method("resvnet", {})}
    stages = recipes["resvnet"].stages
    whole = stages["whole"]
    image, label = (root / name / file for file in ("imaging.nii.gz", "segmentation.nii.gz"))
    header = read_header(image)
    case = CheckedCase(name, str(image), str(label), list(header.shape), list(header.spacing))
    inputs = {"whole": folder / "normalized", "tumour": folder / "regions"}
    predictions = {stage: folder / "prediction" / stage for stage in inputs}
    if step == "merge":
        for stage, source in inputs.items():
            prepared = read_index(source)[name]
            labels = read_labels(source, prepared)
            region = KITS19.region(str(stages[stage].training.target))
            truth = [region.mask(grid)[None].astype(np.float32) for grid in labels]
            write_probabilities(predictions[stage], prepared, truth)
            write_index(predictions[stage], [prepared])
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.monotonic(), time.process_time()
    if step == "prepare":
        assert whole.geometry.body is not None
        crop_body([case], whole.geometry.body, folder / "body.json")
        resample([case], whole.geometry, folder / "resampled", boxes=folder / "body.json")
        window_normalize(folder / "resampled", whole.intensity, folder / "normalized")
    elif step == "regions":
        crop = recipe.true_region_crop(recipes, "resvnet", "tumour")
        crop_roi([case], crop, true_mask, folder / "regions")
    else:
        merging = recipe.merging(recipes, "resvnet")
        folders = {stage: [folder] for stage, folder in predictions.items()}
        merge([case], folders, merging, folder / "merged")
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_mb": memory_before / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    a = parser.parse_args()
    if a.step:
        print(json.dumps(measure(a.root, a.cases[0], a.step, a.folder)))
        return
    rows = []
    for name in a.cases or sorted(path.name for path in a.root.glob("case_*")):
        with tempfile.TemporaryDirectory() as folder:
            row = {"case": name}
            for step in STEPS:
                command = [sys.executable, __file__, str(a.root), name]
                command += ["--step", step, "--folder", folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                figures = json.loads(done.stdout)
                row[f"{step} CPU s"] = round(figures["cpu_s"], 2)
                row[f"{step} MB"] = round(figures["peak_mb"])
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).set_index("case")
    print(pd.concat([table, table.median().to_frame("median").T]).to_string())


if __name__ == "__main__":
    main()
