"""Applying trained models to prepared cases."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.files import read_json
from renal.handover.predictions import write_probabilities
from renal.handover.prepared import read_images, read_index, write_index
from renal.labels import KITS19, Labels
from renal.parallel import telling_of_memory

if TYPE_CHECKING:
    import torch

    from renal.learn.settings import Prediction

log = logging.getLogger(__name__)


def predict(
    folders: list[Path],
    models: list[Path],
    settings: "Prediction",
    output: Path,
    *,
    threads: int,
    bfloat16_on_cpu: bool,
    labels: Labels = KITS19,
) -> None:
    """Predict every case of some prepared folders with the mean of some models.

    Parameters
    ----------
    folders : list of Path
        Prepared batches.
    models : list of Path
        ``model.safetensors`` files: the one that has not seen the cases, or for unlabelled cases
        all folds', whose probabilities are averaged.
    settings : Prediction
        The part of the recipe that decides a prediction: network, target and inference.
    output : Path
        Folder to write.
    threads : int
        Cores for torch.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU; on a GPU it is used wherever that has it in hardware.
    labels : Labels
        Which regions lie within which.

    Raises
    ------
    InputError
        If a model or a prepared case cannot be used, or memory does not suffice for one, or a
        model has learned from a case.
    """
    import torch

    from renal.learn.mean_predictor import LESS_AT_ONCE, MeanPredictor

    torch.set_num_threads(threads)
    networks = [_load(path, settings) for path in models]
    predictor = MeanPredictor(networks, settings, labels, bfloat16_on_cpu=bfloat16_on_cpu)
    indices = [(folder, read_index(folder)) for folder in folders]
    _refuse_learned(models, {case.name for _, index in indices for case in index.values()})
    total, done = sum(len(index) for _, index in indices), 0
    for folder, index in indices:
        for case in index.values():
            with telling_of_memory(case.name, f"{LESS_AT_ONCE}, or use a machine with more"):
                maps = predictor.predict(read_images(folder, case))
            if not all(np.isfinite(region).all() for region in maps):
                raise InputError(
                    f"{', '.join(map(str, models))}: the prediction of {case.name} is not a "
                    "number: delete the model and train with a lower learning rate"
                )
            write_probabilities(output, case, maps)
            done += 1
            log.info("%s: predicted, %d of %d", case.name, done, total)
    write_index(output, [case for _, index in indices for case in index.values()])


def _refuse_learned(models: list[Path], cases: set[str]) -> None:
    """Raise an InputError if a model's run.json lists one of the cases.

    Seals tell what was changed, but not a whole folder that was copied over another's.
    """
    for path in models:
        run = path.with_name("run.json")
        told = read_json(run) if run.exists() else {}
        if learned := cases & {*told.get("cases", ()), *told.get("validation_cases", ())}:
            raise InputError(
                f"{path}: has learned from {min(learned)}, which it is to be tested on: delete "
                f"{path.parent}, where another model was put, and run the workflow again"
            )


def network_with(weights: bytes, settings: "Prediction") -> "torch.nn.Module":
    """A stage's network with weights, the content of a safetensors file.

    Raises
    ------
    ValueError
        If they are damaged or those of another network, with the reason.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from renal.learn.networks import build_network

    with torch.device("meta"):  # weights are not drawn first
        network = build_network(settings.network, settings.channels_in, settings.target)
    try:
        network.load_state_dict(load(weights), assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    return network


def _load(path: Path, settings: "Prediction") -> "torch.nn.Module":
    try:
        return network_with(path.read_bytes(), settings)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a model of this recipe ({error}): delete it to train again"
        ) from error
