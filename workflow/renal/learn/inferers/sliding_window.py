"""Overlapping patches, averaged."""

from typing import TYPE_CHECKING, Literal

from torch import Tensor

from renal.learn.arrays import padded

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor

MODES = {"uniform": "constant", "gaussian": "gaussian"}


def infer(
    images: list[Tensor],
    predictor: "Predictor",
    *,
    size: tuple[int, int, int],
    overlap: tuple[int, int, int],
    weighting: Literal["uniform", "gaussian"],
    context: int = 1,
) -> list[Tensor]:
    """Probabilities (maps, z, y, x) of images (z, y, x), by MONAI's sliding window.

    Parameters
    ----------
    images : list of torch.Tensor
        (z, y, x) float. Padded with its smallest value where it is smaller than a patch.
    predictor : callable
        See the package.
    size, overlap : tuple of int
        Voxels (z, y, x) of a patch, and by how many neighbouring patches overlap.
    weighting : {"uniform", "gaussian"}
        How patches are averaged; Gaussian weights have a sigma of an eighth of the patch.
    context : int
        Of no use on volumes.
    """
    # MONAI takes shares and cuts decimals off the step: half a voxel less keeps it as it should be.
    shares = [max(part - 0.5, 0) / side for part, side in zip(overlap, size, strict=True)]
    return [_infer_one(image, predictor, size, shares, MODES[weighting]) for image in images]


def _infer_one(
    image: Tensor,
    predictor: "Predictor",
    size: tuple[int, int, int],
    shares: list[float],
    mode: str,
) -> Tensor:
    from monai.inferers.utils import sliding_window_inference

    large, place = padded(image, size)
    # Patches are put together on the CPU: a region at full resolution may not fit beside the
    # network on a GPU.
    maps = sliding_window_inference(
        large[None, None],
        size,
        1,
        lambda patch: predictor(patch).to(image.device),
        shares,
        mode,
    )
    return maps[0][:, *place]
