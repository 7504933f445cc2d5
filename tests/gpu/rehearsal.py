"""Trains and predicts stages on the fake GPU: ``python -m tests.gpu.rehearsal FOLDER JOBS``.

`FOLDER` keeps the compiled device. `JOBS` is a JSON list of the keywords of `rehearse`, or with
`predicts` of `rehearse_prediction`; a line of JSON for each tells what was seen.
"""

import contextlib
import json
import math
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.gpu import fake_cuda  # before torch

# isort: split
import numpy as np
import pytest
import torch
import torch.nn.parallel.distributed as torch_parallel
from safetensors.torch import save
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from training_step import scheme_with

from renal import recipe
from renal.errors import InputError, Stopped
from renal.files import write_array
from renal.handover.prepared import PreparedCase, image_file, label_file, write_index
from renal.learn import distributed as shared
from renal.learn import launch, mean_predictor, prediction, results, training
from renal.learn.collapse import end_if_collapsed
from renal.learn.datasets import Examples
from renal.learn.launch import StopFlag
from renal.learn.mean_predictor import MeanPredictor
from renal.learn.memory import GpuMemory
from renal.learn.networks import build_network
from renal.learn.targets import maps_of
from tests.unit.recipe.helpers import demonstrated

CASES = 2
BATCH, SLICES = 2, 8


class Replica(DistributedDataParallel):
    """Sums no gradients and compares no parameters, which are torch's own work."""

    buckets = 0  # of gradients that were to be summed

    def __init__(self, network) -> None:
        super().__init__(network)
        self.register_comm_hook(None, self._summed)

    @staticmethod
    def _summed(_, bucket):
        Replica.buckets += 1
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done


@contextlib.contextmanager
def in_a_group(mode: fake_cuda.FakeCuda, patch: pytest.MonkeyPatch, rank: int):
    """Be one of two processes, each with its GPU; the other one only seems to be there.

    Batches are normalised by shares: torch has no rule for fake tensors in SyncBatchNorm.
    """
    patch.setattr(torch.nn.SyncBatchNorm, "convert_sync_batchnorm", lambda network: network)
    mode.become_process_of(rank)
    patch.setattr(torch_parallel, "_verify_param_shape_across_processes", lambda *_: None)
    patch.setattr(shared, "DistributedDataParallel", Replica)
    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=2)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def write_cases(folder: Path, count: int, size: list[int], regions: int) -> None:
    """Prepared cases with a block in the middle."""
    image = np.random.default_rng(0).random(size, dtype=np.float32).astype(np.float16)
    label = np.zeros(size, np.uint8)
    label[tuple(slice(length // 4, length // 4 + max(1, length // 2)) for length in size)] = 1
    box = tuple((0, length) for length in size)
    cases = [PreparedCase(f"case_{n:05d}", size, [box] * regions) for n in range(count)]
    for case in cases:
        for region in range(regions):
            write_array(image_file(folder, case.name, region), image)
            write_array(label_file(folder, case.name, region), label)
    write_index(folder, cases)


def watch(mode: fake_cuda.FakeCuda, patch: pytest.MonkeyPatch, steps: int) -> None:
    """Let epochs have so many steps, and tell the account what is going on in them."""
    batches, init = Examples.batches, Examples.__init__

    def few(self, cases, settings, *others):
        init(self, cases, settings, *others)
        del self.entries[steps * settings.batch_size :]

    def watched_batches(self, *arguments):
        mode.section = "step"
        try:
            yield from batches(self, *arguments)
        finally:
            mode.section = "other"

    def of_loss(function):
        def watched(*arguments):
            before, mode.section = mode.section, "loss"
            try:
                return function(*arguments)
            finally:
                mode.section = before

        return watched

    step = training.training_step

    def counted(*arguments):
        before = mode.moved
        found = step(*arguments)
        mode.moved_in_step = mode.moved - before
        return found

    patch.setattr(training, "training_step", counted)
    patch.setattr(launch, "SECONDS_TO_END_AN_EPOCH", math.inf)
    patch.setattr(Examples, "__init__", few)
    patch.setattr(Examples, "batches", watched_batches)
    for name in ("training_loss", "probabilities", "_dice"):
        patch.setattr(training, name, of_loss(getattr(training, name)))


def fill_up(mode: fake_cuda.FakeCuda, patch: pytest.MonkeyPatch, seen: dict) -> None:
    """Leave half of what resident cases and steps need beside each other; count the repetitions."""
    fill, make_room = GpuMemory.fill, GpuMemory._make_room
    seen["repeated"] = 0

    def filled(self):
        needed, before = mode.peak, mode.live
        fill(self)
        if self.is_resident:
            mode.capacity = min(mode.capacity, needed + (mode.live - before) / 2)

    def counted(self):
        seen["repeated"] += 1
        make_room(self)

    patch.setattr(GpuMemory, "fill", filled)
    patch.setattr(GpuMemory, "_make_room", counted)


def rehearse(
    method: str,
    stage: str,
    demo: str | None = None,
    size: list[int] | None = None,
    changes: dict | None = None,
    steps: int = 1,
    whole: bool = True,
    filled: bool = False,
    together: bool = False,
    **device: object,
) -> dict:
    """Train a stage, stopped after an epoch and gone on with; what was seen.

    Parameters
    ----------
    method, stage : str
        The recipe's.
    demo : str, optional
        Configuration file whose small sizes are taken, instead of the paper's.
    size : list of int, optional
        Voxels (z, y, x) of a region, by default a patch's.
    changes : dict, optional
        Other values of the training section.
    steps : int
        Of an epoch.
    whole : bool
        Stop and go on after an epoch of two; False: one epoch.
    filled : bool
        Two epochs without a stop. Once cases are resident, somebody else takes the memory that
        steps need beside them.
    together : bool
        As two processes: stop as the first one, and go on, from what that wrote, as the second.
    device
        See `fake_cuda.gpu`.
    """
    recipes = demonstrated(demo) if demo else {method: recipe.load_method(method, {})}
    settings = recipes[method].stages[stage]
    train = settings.training.model_copy(update={"epochs": 2 if whole or filled else 1})
    if demo:
        train = train.model_copy(update={"batch_size": BATCH})
    train = type(train).model_validate(recipe.merged(train.model_dump(mode="json"), changes or {}))
    size = size or size_of(settings)
    seen: dict = {}
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        prepared, output = Path(temporary, "prepared"), Path(temporary, "output")
        regions = settings.regions.count if settings.regions else 1
        # A full batch, and a case that is watched.
        count = CASES if train.sampler.flat else max(CASES, train.batch_size + 1)
        write_cases(prepared, count, size, regions)
        network = build_network(train.network, train.sampler.channels, train.target)
        weights = save(network.state_dict())
        patch.setattr(results, "save", lambda state: weights)  # the others are no numbers
        with fake_cuda.gpu(patch, **device) as mode:
            watch(mode, patch, steps)
            if filled:
                fill_up(mode, patch, seen)
            keywords = {"seed": 0, "threads": 1, "bfloat16_on_cpu": False, "code": ""}
            keywords |= {"write": results.write_results, "memory": GpuMemory}
            keywords |= {"watch": end_if_collapsed, "labels": scheme_with(train.target)}
            group = partial(in_a_group, mode, patch) if together else contextlib.nullcontext
            if whole:
                with group(0), contextlib.suppress(Stopped):
                    now = StopFlag(time.monotonic())
                    training.train([prepared], train, output, stop=now, **keywords)
                seen["stopped"] = (output / "state.pt").exists()
                state = torch.load(output / "state.pt", weights_only=True)
                seen |= {"precision": state["precision"], "scale": state["scaler"].get("scale")}
            with group(1):
                training.train([prepared], train, output, stop=StopFlag(), **keywords)
            seen |= {"peak": mode.peak, "moved": mode.moved_in_step}
        if together:
            seen["buckets"] = Replica.buckets
        else:  # which the first process would write
            seen["run"] = json.loads((output / "run.json").read_text())
    for name, account in (("waits", mode.waits), ("half", mode.half)):
        seen[name] = {" ".join(key): count for key, count in account.items() if key[0] != "other"}
    seen["half"] = [key for key in seen["half"] if key.startswith("loss")]
    return seen


def size_of(settings: recipe.Stage) -> list[int]:
    """Voxels (z, y, x) of a region of a stage: its grid's, or a patch's."""
    patch_sizes = [
        max(side or SLICES for side in sides) for sides in zip(*settings.seen, strict=True)
    ]
    return [own or side for own, side in zip(settings.geometry.sizes, patch_sizes, strict=True)]


def rehearse_prediction(
    method: str,
    stage: str,
    demo: str | None = None,
    size: list[int] | None = None,
    full: bool = False,
    **device: object,
) -> dict:
    """Predict a case with the mean of two models; what was seen.

    Parameters
    ----------
    method, stage, demo, size
        As for `rehearse`; by default four windows deep, or five batches of slices.
    full : bool
        Leave no memory for more than a batch of the recipe, beside the case.
    device
        See `fake_cuda.gpu`.

    Returns
    -------
    dict
        Images of each batch (`batches`), waits of the host (`waits`), lines of the log (`told`),
        bytes that stay on the device (`left`), that were there at most (`peak`), and what the
        second model and the case take of these (`beside`).
    """
    recipes = demonstrated(demo) if demo else {method: recipe.load_method(method, {})}
    settings = recipes[method].stages[stage]
    part, (deep, *plane), own = recipe.prediction(settings), settings.seen[1], size_of(settings)
    sizes = {"whole": own, "slices": [5 * part.inference.at_once, *plane]}
    size = size or sizes.get(part.inference.name) or [4 * deep, *plane]
    regions = settings.regions.count if settings.regions else 1
    seen: dict = {"batches": [], "regions": regions, "told": []}
    network = build_network(part.network, part.channels_in, part.target)
    maps = len(maps_of(part.target, scheme_with(part.target)))
    seen["beside"] = 4 * sum(numbers.numel() for numbers in network.state_dict().values())
    seen["beside"] += 4 * regions * math.prod(size) * (1 + maps)
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        prepared = Path(temporary, "prepared")
        write_cases(prepared, 1, size, regions)
        models = [Path(temporary, name) for name in ("a.safetensors", "b.safetensors")]
        for model in models:
            model.write_bytes(save(network.state_dict()))
        with fake_cuda.gpu(patch, **device) as mode:
            called, predict = MeanPredictor.__call__, MeanPredictor.predict

            def watched(predictor, images):
                mode.section, before = "prediction", mode.live
                try:
                    return predict(predictor, images)
                finally:
                    mode.section = "other"
                    seen["left"] = mode.live - before

            def counted(predictor, images):
                seen["batches"].append(len(images))
                if full and len(images) > part.inference.at_once:
                    mode.capacity, kept = mode.live, mode.capacity
                    try:
                        return called(predictor, images)
                    finally:
                        mode.capacity = kept
                return called(predictor, images)

            patch.setattr(MeanPredictor, "__call__", counted)
            patch.setattr(MeanPredictor, "predict", watched)
            patch.setattr(
                mean_predictor.log, "info", lambda line, *words: seen["told"].append(line % words)
            )
            prediction.predict(
                [prepared],
                models,
                part,
                Path(temporary, "maps"),
                threads=1,
                bfloat16_on_cpu=False,
                labels=scheme_with(part.target),
            )
            seen["peak"] = mode.peak
    waits = {key[1:]: count for key, count in mode.waits.items() if key[0] == "prediction"}
    return seen | {"waits": {" ".join(key): count for key, count in waits.items()}}


def main() -> None:
    torch.set_num_threads(1)
    for job in json.loads(sys.argv[2]):
        started = time.process_time()
        function = rehearse_prediction if job.pop("predicts", False) else rehearse
        try:
            seen = function(**job)
        except (AssertionError, InputError, RuntimeError) as error:
            seen = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
        seen["cpu_seconds"] = time.process_time() - started
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
