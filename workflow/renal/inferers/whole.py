"""The whole volume at once."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from renal.inferers import Predictor


def infer(image: Tensor, predictor: "Predictor", **_: Any) -> Tensor:
    """Probabilities (maps, z, y, x) of an image (z, y, x)."""
    return predictor(image[None, None])[0].cpu()
