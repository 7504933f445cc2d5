"""The body: found without the table, and as a whole."""

import numpy as np
import pytest
from scipy import ndimage

from renal.image.body import body_box
from renal.image.boxes import slices, whole_volume
from renal.image.settings import Body
from renal.image.volume import read_header, read_label, read_volume

BODY = Body(threshold_hu=-200, opening_mm=8)


def round_body(table=True):
    """An elliptic body, 80 x 120 mm at 2 mm, with air inside, over a thin table."""
    rows, columns = np.indices((64, 80))
    slab = np.full((64, 80), -1000, np.int16)
    slab[((rows - 28) / 20) ** 2 + ((columns - 38) / 30) ** 2 <= 1] = 40
    slab[((rows - 28) / 8) ** 2 + ((columns - 38) / 8) ** 2 <= 1] = -1000
    if table:
        slab[54:57, 4:76] = 100
    return np.stack([np.full_like(slab, -1000), slab, np.full_like(slab, -1000)])


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("thickness", [0.5, 5])
def test_the_body_is_found_and_the_table_is_not(table, thickness):
    """However thick slices are: the opening is in their plane."""
    box = body_box(round_body(table), (thickness, 2, 2), BODY)
    assert box[0] == (0, 3)
    np.testing.assert_allclose(box[1:], [(8, 49), (8, 69)], atol=1)


def test_a_body_at_the_edge_of_the_image_is_found_whole():
    volume = round_body(table=False)[:, :40, 20:]
    rows, columns = body_box(volume, (5, 2, 2), BODY)[1:]
    assert rows[1] == 40 and columns[0] == 0


def test_without_a_body_the_whole_volume_is_taken():
    air = np.full((3, 20, 30), -1000, np.int16)
    assert body_box(air, (5, 2, 2), BODY) == whole_volume(air.shape)
    air[1, 4:6, 5:8] = 40  # smaller than the opening
    assert body_box(air, (5, 2, 2), BODY) == whole_volume(air.shape)


@pytest.mark.parametrize("name", ["case_00000", "case_00001", "case_00002"])
def test_the_body_of_a_phantom_holds_the_kidneys_and_leaves_air_out(shared_kits19, name):
    image = read_header(shared_kits19 / name / "imaging.nii.gz")
    volume = read_volume(image)
    label = read_label(read_header(shared_kits19 / name / "segmentation.nii.gz"))
    # A fine grid in the plane, as a scanner's is: a pixel of a small phantom is 5.6 mm.
    volume = ndimage.zoom(volume, (1, 4, 4), order=1, grid_mode=True, mode="nearest")
    spacing = (image.spacing[0], image.spacing[1] / 4, image.spacing[2] / 4)
    box = body_box(volume, spacing, BODY)
    label = label.repeat(4, 1).repeat(4, 2)
    assert (label > 0).sum() == (label[slices(box)] > 0).sum()
    rows, columns = box[1:]
    assert rows[1] - rows[0] < volume.shape[1] and columns[1] - columns[0] < volume.shape[2]
    middle = volume[len(volume) // 2]
    components, _ = ndimage.label(middle > -200)
    largest = components == np.bincount(components.ravel())[1:].argmax() + 1
    inside = largest[slices(box)[1:]].sum()
    assert inside > 0.97 * largest.sum()
