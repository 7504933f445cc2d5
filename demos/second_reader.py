"""Segmentations that stand for those of another program: the truth, drawn a voxel too wide.

python demos/second_reader.py DATA OUTPUT

Small tumours are overlooked. As many programs do, it writes decimals, in an axis order of its own.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SMALL_ML = 5


def main() -> None:
    """Write a file for each label of a data set in KiTS19's layout."""
    data, output = map(Path, sys.argv[1:])
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(data.glob("*/segmentation.nii.gz")):
        image = nib.as_closest_canonical(nib.load(path))
        label = np.asanyarray(image.dataobj)
        tumour = label == 2
        if tumour.sum() * np.prod(image.header.get_zooms()) / 1000 < SMALL_ML:
            tumour[:] = False
        drawn = ndimage.binary_dilation(label > 0).astype(np.float32)
        drawn[ndimage.binary_erosion(tumour)] = 2
        nib.save(nib.Nifti1Image(drawn, image.affine), output / f"{path.parent.name}.nii.gz")


if __name__ == "__main__":
    main()
