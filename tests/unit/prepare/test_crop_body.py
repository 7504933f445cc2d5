"""The body's box of each case, and grids that cover it."""

import numpy as np

from renal.files import read_json
from renal.handover.prepared import read_images, read_index
from renal.image.body import body_box
from renal.image.grids import to_grid
from renal.image.settings import Body
from renal.image.volume import read_header, read_volume
from renal.prepare.crop_body import crop_body
from renal.prepare.resample import resample

from .helpers import GEOMETRY, NAMES

BODY = Body(threshold_hu=-200, opening_mm=8)


def test_the_grid_covers_the_body_where_the_recipe_says_so(checked, tmp_path):
    boxes = tmp_path / "boxes.json"
    crop_body(checked, BODY, boxes, threads=2)
    resample(checked, GEOMETRY, tmp_path / "body", boxes=boxes)
    stored = read_json(boxes)
    assert sorted(stored) == NAMES
    for name, prepared in read_index(tmp_path / "body").items():
        header = read_header(next(case.image for case in checked if case.name == name))
        volume = read_volume(header)
        box = body_box(volume, header.spacing, BODY)
        assert prepared.boxes == [box] == [tuple(map(tuple, stored[name]))]
        (image,) = read_images(tmp_path / "body", prepared)
        np.testing.assert_array_equal(image, to_grid(volume, box, GEOMETRY.size))
