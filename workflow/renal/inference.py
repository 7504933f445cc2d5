"""Applying trained models to prepared cases.

A folder of predictions holds ``cases.json`` (as prepared folders do) and ``<case>.npz`` with, for
each region, the probabilities in 8 bits, cropped to where they are not zero.
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
from renal.regions import bounding_box
from renal.resample import slices, to_native
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
        The part of the recipe that decides a prediction: its network.
    output : Path
        Folder to write.
    threads : int
        Cores for torch.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU; on a GPU it is used wherever that has it in hardware.
    """
    import torch

    from renal.device import choose_device

    torch.set_num_threads(threads)
    device, half = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
    networks = [_load(path, settings, device) for path in models]
    indices = [(folder, read_index(folder)) for folder in folders]
    total, done = sum(len(index) for _, index in indices), 0
    for folder, index in indices:
        for case in index.values():
            probabilities = []
            if case.boxes:
                stacked = torch.from_numpy(np.concatenate(read_images(folder, case)))
                image = stacked.float()[None, None].to(device)
                with (
                    torch.inference_mode(),
                    torch.autocast(device.type, torch.bfloat16, enabled=half),
                ):
                    mean = sum(network(image)[-1].float().sigmoid() for network in networks)
                mean = (mean / len(networks))[0, 0].cpu().numpy()
                if not np.isfinite(mean).all():
                    raise InputError(
                        f"{', '.join(map(str, models))}: the prediction of {case.name} is not a "
                        "number: delete the model and train with a lower learning rate"
                    )
                probabilities = np.split(mean, len(case.boxes))
            write_probabilities(output, case, probabilities)
            done += 1
            log.info("%s: predicted, %d of %d", case.name, done, total)
    write_index(output, [case for _, index in indices for case in index.values()])


def _load(path: Path, settings: "Prediction", device: "torch.device") -> "torch.nn.Module":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from renal.networks import build_network

    network = build_network(settings.network)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not a model of this recipe ({reason}): delete it to train again"
        ) from error
    return network.to(device).eval()


def write_probabilities(folder: Path, case: PreparedCase, probabilities: list[np.ndarray]) -> None:
    """Store a case's probabilities, one (z, y, x) float array a region, in 8 bits."""
    arrays = {}
    for number, probability in enumerate(probabilities):
        levels = np.rint(probability * LEVELS).astype(np.uint8)
        box = bounding_box(levels) or ((0, 0),) * 3
        arrays[f"box{number}"] = np.array(box)
        arrays[f"levels{number}"] = levels[slices(box)]
        arrays[f"size{number}"] = np.array(levels.shape)
    with replacing(folder / f"{case.name}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)


def read_probabilities(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """A case's probabilities: one (z, y, x) float32 array a region, on the stage's grid."""
    path = Path(folder) / f"{case.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            probabilities = []
            for number in range(len(case.boxes)):
                probability = np.zeros(arrays[f"size{number}"], np.float32)
                box = tuple(tuple(side) for side in arrays[f"box{number}"].tolist())
                probability[slices(box)] = arrays[f"levels{number}"] / np.float32(LEVELS)
                probabilities.append(probability)
            return probabilities
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
        (z, y, x) float32 of each region. Where regions overlap, the larger probability counts.
    case : PreparedCase
        Boxes of the regions, and shape of the native volume.

    Returns
    -------
    numpy.ndarray
        (z, y, x) bool of the native shape, z fastest in memory as in KiTS19's files.
    """
    mask = np.zeros(case.shape, bool, order="F")
    for probability, box in zip(probabilities, case.boxes, strict=True):
        window = bounding_box(probability)
        if window is not None:
            native, native_box = to_native(probability, box, window)
            mask[slices(native_box)] |= native > FOREGROUND
    return mask


def native_mask_of(folder: Path, case: CheckedCase) -> np.ndarray:
    """`native_mask` of a case from a folder of predictions."""
    prepared = entry_of(read_index(folder), folder, case.name)
    return native_mask(read_probabilities(folder, prepared), prepared)
