"""Whole volumes on a coarse grid, made once."""

import pytest

from renal.prepare.resample import resample

from .helpers import GEOMETRY


@pytest.fixture(scope="package")
def resampled(checked, tmp_path_factory):
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("prepare") / "resampled"
    resample(checked, GEOMETRY, folder)
    return folder
