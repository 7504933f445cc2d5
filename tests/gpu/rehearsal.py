"""Trains and predicts stages on the fake GPU: ``python -m tests.gpu.rehearsal LIBRARY JOBS``.

`JOBS` is a JSON list of the keywords of `rehearse`; a line of JSON for each tells what was seen.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

from tests.gpu import fake_cuda  # before torch

# isort: split
import numpy as np
import pytest
import torch
from safetensors.torch import save

from renal import recipe
from renal.errors import InputError, Stopped
from renal.files import write_array
from renal.handover.prepared import PreparedCase, image_file, label_file, write_index
from renal.learn import prediction, results, training
from renal.learn.datasets import Examples
from renal.learn.networks import build_network
from tests.unit.recipe.helpers import demonstrated

CASES, STEPS = 4, 2
BATCH, SLICES = 2, 8


def write_cases(folder: Path, size: list[int], regions: int) -> None:
    """Prepared cases with a block in the middle."""
    image = np.random.default_rng(0).random(size, dtype=np.float32).astype(np.float16)
    label = np.zeros(size, np.uint8)
    label[tuple(slice(length // 4, length // 4 + max(1, length // 2)) for length in size)] = 1
    box = tuple((0, length) for length in size)
    cases = [PreparedCase(f"case_{n:05d}", size, [box] * regions) for n in range(CASES)]
    for case in cases:
        for region in range(regions):
            write_array(image_file(folder, case.name, region), image)
            write_array(label_file(folder, case.name, region), label)
    write_index(folder, cases)


@contextlib.contextmanager
def stop_at_once(*_):
    yield type("Stop", (), {"is_set": True, "is_overdue": False})


def watch(mode: fake_cuda.FakeCuda, patch: pytest.MonkeyPatch) -> None:
    """Let epochs have `STEPS` steps, and tell the account what is going on in them."""
    batches, init = Examples.batches, Examples.__init__

    def few(self, cases, settings, *others):
        init(self, cases, settings, *others)
        del self.entries[STEPS * settings.batch_size :]

    def watched_batches(self, *arguments):
        mode.section = "step"
        yield from batches(self, *arguments)
        mode.section = "other"

    def of_loss(function):
        def watched(*arguments):
            before, mode.section = mode.section, "loss"
            try:
                return function(*arguments)
            finally:
                mode.section = before

        return watched

    patch.setattr(Examples, "__init__", few)
    patch.setattr(Examples, "batches", watched_batches)
    for name in ("training_loss", "probabilities", "_dice"):
        patch.setattr(training, name, of_loss(getattr(training, name)))


def rehearse(
    method: str,
    stage: str,
    demo: str | None = None,
    size: list[int] | None = None,
    changes: dict | None = None,
    **device: object,
) -> dict:
    """Train a stage, stopped after an epoch and gone on with, and predict; what was seen.

    Parameters
    ----------
    method, stage : str
        The recipe's.
    demo : str, optional
        Configuration file whose small sizes are taken; without it, one epoch at the paper's sizes
        is all.
    size : list of int, optional
        Voxels (z, y, x) of a region, by default a patch's.
    changes : dict, optional
        Other values of the training section.
    device
        See `fake_cuda.gpu`.
    """
    recipes = demonstrated(demo) if demo else {method: recipe.load_method(method, {})}
    settings = recipes[method].stages[stage]
    train = settings.training.model_copy(update={"epochs": 2 if demo else 1})
    if demo:
        train = train.model_copy(update={"batch_size": BATCH})
    train = type(train).model_validate(recipe.merged(train.model_dump(mode="json"), changes or {}))
    patches = zip(settings.geometry.sizes, *settings.seen, strict=True)
    size = size or [own or max(first, second or SLICES) for own, first, second in patches]
    seen: dict = {}
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        prepared, output = Path(temporary, "prepared"), Path(temporary, "output")
        write_cases(prepared, size, settings.regions.count if settings.regions else 1)
        network = build_network(train.network, train.sampler.channels, train.target)
        weights = save(network.state_dict())
        patch.setattr(results, "save", lambda state: weights)  # the others are no numbers
        with fake_cuda.gpu(patch, **device) as mode:
            watch(mode, patch)
            keywords = {"seed": 0, "threads": 1, "bfloat16_on_cpu": False, "code": ""}
            keywords |= {"write": results.write_results}
            if demo:
                with pytest.MonkeyPatch.context() as stopping, contextlib.suppress(Stopped):
                    stopping.setattr(training, "stop_signal", stop_at_once)
                    training.train([prepared], train, output, **keywords)
                seen["stopped"] = (output / "state.pt").exists()
            training.train([prepared], train, output, **keywords)
            seen |= {"peak": mode.peak, "moved": mode.moved}
            if demo:
                model, part = output / "model.safetensors", recipe.prediction(settings)
                keywords = {"threads": 1, "bfloat16_on_cpu": False}
                prediction.predict([prepared], [model], part, Path(temporary, "maps"), **keywords)
        seen["run"] = json.loads((output / "run.json").read_text())
    for name, account in (("waits", mode.waits), ("half", mode.half)):
        seen[name] = {" ".join(key): count for key, count in account.items() if key[0] != "other"}
    seen["half"] = [key for key in seen["half"] if key.startswith("loss")]
    return seen


def main() -> None:
    torch.set_num_threads(1)
    for job in json.loads(sys.argv[2]):
        try:
            seen = rehearse(**job)
        except (AssertionError, InputError, RuntimeError) as error:
            seen = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
