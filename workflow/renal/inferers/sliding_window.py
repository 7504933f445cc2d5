"""Overlapping patches, averaged."""

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from renal.arrays import padded

if TYPE_CHECKING:
    from renal.inferers import Predictor

MODES = {"uniform": "constant", "gaussian": "gaussian"}


def infer(
    image: Tensor,
    predictor: "Predictor",
    *,
    size: tuple[int, int, int],
    overlap: tuple[int, int, int],
    weighting: Literal["uniform", "gaussian"],
    **_: Any,
) -> Tensor:
    """Probabilities (maps, z, y, x) of an image (z, y, x), by MONAI's sliding window.

    Parameters
    ----------
    image : torch.Tensor
        (z, y, x) float. Padded with its smallest value where it is smaller than a patch.
    predictor : callable
        See the package.
    size, overlap : tuple of int
        Voxels (z, y, x) of a patch, and by how many neighbouring patches overlap.
    weighting : {"uniform", "gaussian"}
        How patches are averaged; Gaussian weights have a sigma of an eighth of the patch.
    """
    from monai.inferers import sliding_window_inference

    large, place = padded(image, size)
    # MONAI takes shares and cuts decimals off the step: half a voxel less keeps it as it should be.
    shares = [max(part - 0.5, 0) / side for part, side in zip(overlap, size, strict=True)]
    # Patches are put together on the CPU: a region at full resolution may not fit beside the
    # network on a GPU.
    maps = sliding_window_inference(
        large[None, None],
        size,
        1,
        lambda patch: predictor(patch).to(image.device),
        shares,
        MODES[weighting],
    )
    return maps[0][:, *place]
