"""What a GPU does with every stage at its paper's size, in less than ten minutes.

python benchmarks/gpu.py [--stages METHOD.STAGE ...] [--steps N] [--compile] [--small] [--write]

Run it first where a GPU is at hand. It times training steps with and without data, and with the
other layout of channels in memory (`--compile`: compiled, too, which takes minutes); compares peaks
of memory with what `renal costs` counts without a GPU; times the prediction of a case as the step
does it, from start to end; compares the loss of short trainings with a CPU's; kills a training and
goes on with it; and shares one among two GPUs where there are two. It ends with 1 if one of those
fails.
One stage of each network comes first. After eight and a half minutes no further one is begun, and
those that are left are named; `--stages` measures them.
`--write` puts the table into docs/results.md. `--small` takes the demos' sizes, on a CPU too.
"""

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from training_step import scheme_with, timed, write_cases

from renal import recipe
from renal.costs.step import Step, count_step
from renal.handover.seals import write_seal
from renal.image.boxes import three
from renal.learn.networks import build_network
from renal.recipe import Stage
from renal.settings import as_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results.md"
HEADING, END = "## On a GPU\n", "\n<!-- end of what benchmarks/gpu.py writes -->\n"
TOLERANCE = 1e-2  # of losses, between bfloat16 on a GPU and float32 on a CPU
EPOCHS, CASES = 6, 3
LAST_BEGUN = 8.5 * 60  # seconds after which no further stage is begun, unless stages are named
# Slices, rows and columns of a region where the recipe leaves them to the scan: KiTS19's means.
MEANS = {
    "mrbnet.zrange": (40, 256, 256),
    "mrbnet.locate": (40, 256, 256),
    "mrbnet.segment": (200, 200, 320),
    "damnet.coarse": (128, 256, 256),
    "damnet.fine": (72, 192, 176),
    "msvnet.kidney": (206, 256, 256),
    "msvnet.tumour": (24, 512, 512),
}


@cache
def stages(small: bool) -> dict[str, Stage]:
    """Every stage that is trained, once, by method and name."""
    found, seen = {}, set()
    overrides = demo_overrides() if small else {}
    for name in sorted(path.stem for path in recipe.METHODS.glob("*.yaml")):
        method = recipe.load_method(name, overrides.get(name, {}))
        for key, stage in method.stages.items():
            settings = stage.training.model_dump_json()
            if settings not in seen:
                seen.add(settings)
                found[f"{name}.{key}"] = stage
    return found


def demo_overrides() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = {}
    for path in (ROOT / "demo.yaml", *sorted((ROOT / "demos").glob("*.yaml"))):
        found |= yaml.safe_load(path.read_text(encoding="utf-8")).get("overrides", {})
    return found


def size_of(name: str, stage: Stage, small: bool) -> tuple[int, int, int]:
    """Voxels (z, y, x) of a prepared region."""
    patch, window = stage.seen
    means = MEANS.get(re.sub(r"_\w+", "", name)) if not small else None
    seen = [max(part[axis] or 8 for part in (patch, window)) for axis in range(3)]
    return three(
        own or other for own, other in zip(stage.geometry.sizes, means or seen, strict=True)
    )


def step_of(stage: Stage) -> Step:
    """What `renal costs` counts of a step."""
    seen = three(length or 8 for length in stage.seen[0])
    return count_step(stage.training, seen, scheme_with(stage.training.target))


def with_acceleration(stage: Stage, **values: object) -> Stage:
    asked = stage.training.acceleration.model_copy(update=values)
    training = stage.training.model_copy(update={"acceleration": asked})
    return stage.model_copy(update={"training": training})


def step(*arguments: object, gpus: str | None = None, **keywords: Any) -> subprocess.Popen[str]:
    """Start a step as the workflow does; `gpus` are those that it sees."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    command = [sys.executable, "-m", "renal", *map(str, arguments)]
    process: subprocess.Popen[str] = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, **keywords
    )
    return process


def ended(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate()
    if process.returncode:
        sys.exit(f"{process.args!r}\n{told}")


def seconds_to_predict(stage: Stage, prepared: Path, folder: Path) -> float:
    """Of the whole step on one case, Python's start and the reading of the model included."""
    training, model = stage.training, folder / "model.safetensors"
    network = build_network(training.network, training.sampler.channels, training.target)
    save_file(network.state_dict(), model)
    for path in (prepared, model):
        write_seal(path)
    started = time.perf_counter()
    arguments = ["predict", "--prepared", prepared, "--models", model]
    arguments += ["--settings", as_json(recipe.prediction(stage)), "--threads", "4"]
    arguments += recipe.label_options(scheme_with(training.target))["learned"]
    ended(step(*arguments, "--output", folder / "predicted"))
    return time.perf_counter() - started


def measured(name: str, stage: Stage, a: argparse.Namespace) -> list[str]:
    """A row of the table."""
    training, size = stage.training, size_of(name, stage, a.small)
    regions = stage.regions.count if stage.regions else 1
    with tempfile.TemporaryDirectory() as temporary:
        cases, one = Path(temporary, "cases"), Path(temporary, "one")
        write_cases(cases, size, regions, max(CASES, training.batch_size))
        write_cases(one, size, regions, 1)
        last = training.network.channels_last
        found = timed(cases, training, a.steps, bfloat16_on_cpu=False)
        other = with_acceleration(stage, channels_last=not last).training
        layout = timed(cases, other, a.steps, bfloat16_on_cpu=False)
        compiled = None
        if a.compile:
            fused = with_acceleration(stage, compile=True).training
            compiled = timed(cases, fused, a.steps, bfloat16_on_cpu=False)
        torch.cuda.empty_cache()  # the step has a process of its own on the same card
        predicted = seconds_to_predict(stage, one, Path(temporary))
    expected = step_of(stage).peak / 1e9
    return [
        name,
        f"{found.resident * 1e3:.0f}",
        f"{found.data * 1e3:.0f}",
        f"{layout.resident * 1e3:.0f} ({'first' if last else 'last'})",
        f"{compiled.resident * 1e3:.0f}" if compiled else "",
        f"{found.peak:.1f}",
        f"{expected:.1f}",
        f"{predicted:.1f}",
    ]


def small_training(folder: Path, **changes: object) -> tuple[list[object], Path]:
    """Arguments of a short training of ResVNet's first stage at the demo's size, and its cases."""
    stage = recipe.load_method("resvnet", demo_overrides()["resvnet"]).stages["whole"]
    # Bytes of dropout and order are drawn on the CPU alone where there is no dropout.
    network = stage.training.network.model_copy(update={"dropout": 0.0})
    training = stage.training.model_copy(update={"network": network, "epochs": EPOCHS, **changes})
    write_cases(folder / "prepared", size_of("resvnet.whole", stage, small=True), 1, 4)
    write_seal(folder / "prepared")
    arguments = ["train", "--prepared", folder / "prepared", "--settings", as_json(training)]
    return [*arguments, "--seed", "0", "--threads", "2", "--name", "small", "--output"], folder


def losses(output: Path) -> list[float]:
    with (output / "history.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def checks() -> list[tuple[str, bool, str]]:
    """What is looked at, whether it is as it should be, and what was found."""
    gpus = torch.cuda.device_count()
    with tempfile.TemporaryDirectory() as temporary:
        command, folder = small_training(Path(temporary))
        ended(step(*command, folder / "cpu", gpus=""))
        ended(step(*command, folder / "gpu"))
        cpu = losses(folder / "cpu")
        far = max(abs(a - b) for a, b in zip(cpu, losses(folder / "gpu"), strict=True))
        found = [("loss as on a CPU", far < TOLERANCE, f"differs by {far:.1e} at most")]
        process = step(*command, folder / "stopped")
        while process.poll() is None and not (folder / "stopped").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        stopped = process.returncode != 0
        ended(step(*command, folder / "stopped"))
        far = max(abs(a - b) for a, b in zip(cpu, losses(folder / "stopped"), strict=True))
        kind = "stopped" if stopped else "ended before it could be stopped"
        found.append(("stop and go on", stopped and far < TOLERANCE, f"{kind}, {far:.1e}"))
        if gpus > 1:
            command, folder = small_training(Path(temporary, "two"), gpus=2)
            ended(step(*command, folder / "two"))
            far = max(abs(a - b) for a, b in zip(cpu, losses(folder / "two"), strict=True))
            used = json.loads((folder / "two/run.json").read_text())["processes"]
            found.append(("two GPUs", used == 2 and far < TOLERANCE, f"{used}, {far:.1e}"))
    return found


def table(rows: list[list[str]], found: list[tuple[str, bool, str]], seconds: float) -> str:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    titles = ["stage", "step, ms", "with data", "other layout", "compiled", "peak, GB", "counted"]
    lines = [
        f"`python benchmarks/gpu.py` on {card}, torch {torch.__version__}, {seconds:.0f} s:",
        "",
    ]
    lines += ["| " + " | ".join([*titles, "a case, s"]) + " |", "|---" * 8 + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {what}: {told}" for what, _, told in found)])


def write(text: str) -> None:
    """Put the text below its heading in docs/results.md, in place of an earlier one."""
    content = RESULTS.read_text(encoding="utf-8")
    before, heading, rest = content.partition(HEADING)
    after = rest.partition(END)[2] if heading else ""
    RESULTS.write_text(f"{before.rstrip()}\n\n{HEADING}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", help="such as resvnet.whole; by default all")
    parser.add_argument("--steps", type=int, default=10, help="that are timed of each stage")
    parser.add_argument("--compile", action="store_true", help="time compiled networks, too")
    parser.add_argument("--small", action="store_true", help="the demos' sizes, on a CPU too")
    parser.add_argument("--write", action="store_true", help="the table into docs/results.md")
    a = parser.parse_args()
    if not (a.small or torch.cuda.is_available()):
        print("error: torch finds no GPU: --small runs on a CPU", file=sys.stderr)
        return 1
    started, known = time.perf_counter(), stages(a.small)
    first = {stage.training.network.name: name for name, stage in reversed(known.items())}
    names = a.stages or sorted(known, key=lambda name: name not in first.values())
    if unknown := [name for name in names if name not in known]:
        print(f"error: {unknown[0]}: no stage: {', '.join(known)}", file=sys.stderr)
        return 1
    found, rows, late = checks(), [], []
    for name in names:
        if not a.stages and time.perf_counter() - started > LAST_BEGUN:
            late.append(name)
            continue
        rows.append(measured(name, known[name], a))
        print(*rows[-1], sep="\t", flush=True)
    if late:
        found.append(("no time was left for", True, ", ".join(late)))
    text = table(rows, found, time.perf_counter() - started)
    print(text)
    if a.write:
        write(text)
    return 0 if all(good for _, good, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
