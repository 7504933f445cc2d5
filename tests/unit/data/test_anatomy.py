"""Lesions without room: a cyst is left out, and a tumour that was asked for is not."""

from types import SimpleNamespace

import numpy as np
import pytest

from renal.data.anatomy import lesions
from renal.errors import InputError

KIDNEY = SimpleNamespace(surface=lambda rng, radius, bulge: (0.0, 0.0, 0.0))
PATIENT = SimpleNamespace(cavity=lambda points: 1.0)  # all of it is outside of the body wall


def test_a_tumour_without_room_is_told_with_what_to_do():
    with pytest.raises(InputError, match=r"^found no room for a tumour: take another seed$"):
        lesions([KIDNEY], PATIENT, np.random.default_rng(0), 1, None, 130)


def test_a_cyst_without_room_is_left_out():
    asked = SimpleNamespace(poisson=lambda mean: 3, triangular=lambda *_: 7.0, integers=lambda _: 0)
    asked.uniform = lambda *_: 1.0
    assert lesions([KIDNEY], PATIENT, asked, 0, None, 130) == []
