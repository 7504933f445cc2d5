"""What the tests of pictures share."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt


def picture(path: Path) -> np.ndarray:
    """(height, width, channels) of a PNG."""
    return plt.imread(path)


def assert_shows_something(path: Path, least: int = 200, most: int = 4000) -> None:
    pixels = picture(path)
    assert least <= min(pixels.shape[:2])
    assert max(pixels.shape[:2]) <= most
    assert pixels[..., :3].std() > 0.01


def coloured(path: Path, colour: str) -> bool:
    """Whether a picture shows a colour in its right third, where the prediction is."""
    pixels = picture(path)[..., :3]
    part = pixels[:, 2 * pixels.shape[1] // 3 :]
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(part - wanted).max(axis=-1) < 0.1).any())
