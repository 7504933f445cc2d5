"""The stages of a packed row applied to one CT, in memory, as the workflow's steps apply them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from renal.apply.package import PackageFile, PackedStage
from renal.errors import InputError
from renal.evaluate.merge import merge_case
from renal.handover.predictions import StageProbabilities, as_stored, averaged, first_mask
from renal.handover.prepared import PreparedCase
from renal.image.body import body_box
from renal.image.boxes import Box, three
from renal.learn.mean_predictor import MeanPredictor
from renal.learn.prediction import network_with
from renal.prepare.crop_roi import cut_out, locate
from renal.prepare.intensity import normalize
from renal.prepare.resample import resampled

if TYPE_CHECKING:
    import torch

    from renal.image.settings import Geometry

Spacing = tuple[float, float, float]


class Row:
    """A packed row with its networks in memory.

    Parameters
    ----------
    file : PackageFile
        The package.
    folds : list of int
        Whose models are averaged.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU.

    Raises
    ------
    InputError
        If weights are damaged or do not fit their network.
    """

    def __init__(self, file: PackageFile, folds: list[int], *, bfloat16_on_cpu: bool) -> None:
        self.file = file
        self.package = file.package
        self.folds = folds
        self._predictors: dict[str, MeanPredictor] = {}
        for key, stage in self.package.stages.items():
            models = [stage.models[fold] for fold in folds]
            with ThreadPoolExecutor(2) as pool:  # reading, checking and copying wait in turn
                networks = pool.map(partial(_load, file, stage), models)
            self._predictors[key] = MeanPredictor(
                list(networks),
                stage.prediction,
                self.package.scheme,
                bfloat16_on_cpu=bfloat16_on_cpu,
            )

    def segment(
        self, volume: np.ndarray, spacing: Spacing, name: str, tell: Callable[[str], None]
    ) -> np.ndarray:
        """Label map of a CT.

        Parameters
        ----------
        volume : numpy.ndarray
            (z, y, x) int16, HU.
        spacing : tuple of float
            (z, y, x) mm.
        name : str
            Of the CT, for messages.
        tell : callable
            Is told each stage as it begins.

        Returns
        -------
        numpy.ndarray
            (z, y, x) uint8.
        """
        found: dict[str, StageProbabilities] = {}
        grids: dict[Geometry, tuple[np.ndarray, Box]] = {}
        for key, stage in self.package.stages.items():
            tell(key.partition("/")[2])
            boxes, images = _seen(stage, volume, spacing, found, grids)
            case = PreparedCase(name, three(volume.shape), boxes)
            maps = self._predictors[key].predict(images)
            if not all(np.isfinite(region).all() for region in maps):
                raise InputError(
                    f"{name}: {self.file.path}: the prediction of {key} is not a number: "
                    "look at the image's values"
                )
            found[key] = case, [as_stored(region) for region in maps]
        tell("merge")
        stages = {stage: _mean(found, keys) for stage, keys in self.package.merged.items()}
        return merge_case(stages, self.package.merging, self.package.scheme)


def _load(file: PackageFile, stage: PackedStage, model: str) -> "torch.nn.Module":
    try:
        return network_with(file.weights(model), stage.prediction)
    except ValueError as error:
        raise InputError(
            f"{file.path}: {model} does not fit its network ({error}): export it again"
        ) from error


def _seen(
    stage: PackedStage,
    volume: np.ndarray,
    spacing: Spacing,
    found: dict[str, StageProbabilities],
    grids: dict["Geometry", tuple[np.ndarray, Box]],
) -> tuple[list[Box], list[np.ndarray]]:
    """What a stage looks at: its boxes in the volume, and a (z, y, x) float16 image of each."""
    sees, crop = stage.sees, stage.crop
    if crop is None:
        if sees.geometry not in grids:
            body = sees.geometry.body
            box = None if body is None else body_box(volume, spacing, body)
            grids[sees.geometry] = resampled(volume, spacing, sees.geometry, box)
        image, box = grids[sees.geometry]
        return [box], [normalize(image, sees.intensity)]
    assert stage.locator is not None, "which a package says of regions"
    case, maps = found[stage.locator]
    mask, boxes = locate(*first_mask(maps, case), spacing, crop)
    return boxes, list(cut_out(volume, mask, boxes, spacing, crop))


def _mean(found: dict[str, StageProbabilities], keys: tuple[str, ...]) -> StageProbabilities:
    case, maps = found[keys[0]]
    if len(keys) == 1:
        return case, maps
    # The first is written over, and may be among the others again.
    first = [region.copy() for region in maps]
    return case, averaged([first, *(found[key][1] for key in keys[1:])])
