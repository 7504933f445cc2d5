"""Applying trained models to prepared cases.

A folder of predictions holds ``cases.json`` (as prepared folders do) and ``<case>.npz`` with, for
each region, the probabilities of the target's maps in 8 bits, cropped to where they are not zero.
"""

import logging
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.files import replacing
from renal.prepare import PreparedCase, entry_of, read_images, read_index, write_index
from renal.regions import bounding_box, joined
from renal.resample import Box, inside, slices, to_native, whole_volume
from renal.validation import CheckedCase

if TYPE_CHECKING:
    import torch

    from renal.recipe import Prediction

log = logging.getLogger(__name__)

LEVELS = 255  # 8 bits: probabilities are kept to 0.4 %
FOREGROUND = 0.5
# What numpy raises for an archive that is cut off, empty or altered.
DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def predict(
    folders: list[Path],
    models: list[Path],
    settings: "Prediction",
    output: Path,
    *,
    threads: int,
    bfloat16_on_cpu: bool,
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
    """
    import torch

    from renal.device import choose_device
    from renal.inferers import infer
    from renal.targets import probabilities

    torch.set_num_threads(threads)
    device, half = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
    networks = [_load(path, settings, device) for path in models]

    def mean(images: torch.Tensor) -> torch.Tensor:
        images = images.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = [network(images)[-1] for network in networks]
        return sum(probabilities(one, settings.target) for one in logits) / len(networks)

    indices = [(folder, read_index(folder)) for folder in folders]
    total, done = sum(len(index) for _, index in indices), 0
    for folder, index in indices:
        for case in index.values():
            maps = []
            images = read_images(folder, case)
            stacked = settings.inference.name == "whole" and len(images) > 1
            for image in [np.concatenate(images)] if stacked else images:
                with torch.inference_mode():
                    array = torch.from_numpy(np.array(image)).float()
                    found = infer(
                        array, mean, settings.inference, context=settings.channels_in
                    ).numpy()
                if not np.isfinite(found).all():
                    raise InputError(
                        f"{', '.join(map(str, models))}: the prediction of {case.name} is not a "
                        "number: delete the model and train with a lower learning rate"
                    )
                maps += np.split(found, len(images), axis=1) if stacked else [found]
            write_probabilities(output, case, maps)
            done += 1
            log.info("%s: predicted, %d of %d", case.name, done, total)
    write_index(output, [case for _, index in indices for case in index.values()])


def _load(path: Path, settings: "Prediction", device: "torch.device") -> "torch.nn.Module":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from renal.networks import build_network

    network = build_network(settings.network, settings.channels_in, settings.target)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not a model of this recipe ({reason}): delete it to train again"
        ) from error
    return network.to(device).eval()


def write_probabilities(folder: Path, case: PreparedCase, maps: list[np.ndarray]) -> None:
    """Store a case's probabilities, (maps, z, y, x) float for each region, in 8 bits."""
    arrays = {}
    for number, probability in enumerate(maps):
        levels = _levels(probability)
        box = bounding_box(levels.any(axis=0)) or ((0, 0),) * 3
        arrays[f"box{number}"] = np.array(box)
        arrays[f"levels{number}"] = levels[:, *slices(box)]
        arrays[f"size{number}"] = np.array(levels.shape)
    with replacing(folder / f"{case.name}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)


def _levels(probability: np.ndarray) -> np.ndarray:
    """Probabilities in 8 bits; slice by slice, because a region may be most of a scan."""
    levels = np.empty(probability.shape, np.uint8)
    for number in range(probability.shape[1]):
        levels[:, number] = np.rint(probability[:, number] * LEVELS)
    return levels


def read_probabilities(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """A case's probabilities: (maps, z, y, x) float32 on the stage's grid for each region."""
    path = Path(folder) / f"{case.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            maps = []
            for number in range(len(case.boxes)):
                probability = np.zeros(arrays[f"size{number}"], np.float32)
                box = tuple(tuple(side) for side in arrays[f"box{number}"].tolist())
                probability[:, *slices(box)] = arrays[f"levels{number}"] / np.float32(LEVELS)
                maps.append(probability)
            return maps
    except DAMAGED as error:
        raise InputError(
            f"{path}: missing or damaged ({error}): delete the folder {folder} "
            "and run the workflow again"
        ) from error


def native_mask(probabilities: list[np.ndarray], case: PreparedCase) -> np.ndarray:
    """Foreground on the native grid: probabilities interpolated back, then thresholded.

    Parameters
    ----------
    probabilities : list of numpy.ndarray
        (z, y, x) float32 of each region; (z, 1, 1) for what is known of slices alone. Where
        regions overlap, the larger probability counts.
    case : PreparedCase
        Boxes of the regions, and shape of the native volume.

    Returns
    -------
    numpy.ndarray
        (z, y, x) bool of the native shape, z fastest in memory as in KiTS19's files.
    """
    mask = np.zeros(case.shape, bool, order="F")
    for probability, box in zip(probabilities, case.boxes, strict=True):
        if probability.shape[1:] == (1, 1):
            rows, *_ = box
            column, column_box = to_native(probability, (rows, (0, 1), (0, 1)))
            column, _ = _within(column, column_box, (case.shape[0], 1, 1))
            mask[slices(inside(box, case.shape))] |= column > FOREGROUND
            continue
        window = bounding_box(probability)
        if window is not None:
            native, native_box = to_native(probability, box, window)
            native, native_box = _within(native, native_box, case.shape)
            mask[slices(native_box)] |= native > FOREGROUND
    return mask


def _within(native: np.ndarray, box: Box, shape: tuple[int, int, int]) -> tuple[np.ndarray, Box]:
    """The part of an array at `box` that lies in a volume of `shape`, and its box."""
    cut = inside(box, shape)
    start = [low for low, _ in box]
    part = tuple((low - s, high - s) for (low, high), s in zip(cut, start, strict=True))
    return native[slices(part)], cut


def native_mask_of(folder: Path, case: CheckedCase) -> tuple[np.ndarray, Box]:
    """Native mask of the first map of a case from a folder of predictions, and what was looked at.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool.
    extent : Box
        The box round all regions, cut at the volume; the whole volume if there was none.
    """
    prepared = entry_of(read_index(folder), folder, case.name)
    mask = native_mask([maps[0] for maps in read_probabilities(folder, prepared)], prepared)
    boxes = prepared.boxes or [whole_volume(prepared.shape)]
    return mask, inside(joined(boxes), prepared.shape)
