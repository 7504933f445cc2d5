"""The image that steps run in under ``snakemake --sdm apptainer``."""

import os
from pathlib import Path

from renal.errors import InputError

BUILT = Path("envs/renal.sif")


def image_of(root: Path, *, nnunet: bool) -> str:
    """Path of the image, relative to the working folder, so that it may be moved with it.

    Parameters
    ----------
    root : Path
        The clone.
    nnunet : bool
        Whether a row is trained by nnU-Net.

    Raises
    ------
    InputError
        If there is no image, or nnU-Net is needed, which is not in it.
    """
    if nnunet:
        raise InputError(
            "--sdm apptainer: nnU-Net is not in the image: run its rows without, by `make nnunet`"
        )
    image = root / BUILT
    if not image.exists():
        raise InputError(
            f"{image}: missing: build it in {root}: apptainer build {BUILT} envs/renal.def"
        )
    return os.path.relpath(image)
