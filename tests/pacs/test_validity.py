"""Segmentations as the validator of dicom3tools judges them."""

import shutil
import subprocess

import numpy as np
import pytest

from ..unit.image.dicom_files import enhanced, example_series, series_files
from ..unit.image.test_dicom_segmentation import written, written_for


@pytest.fixture
def validator(orthanc):
    """The program, which is installed together with the archive."""
    return shutil.which("dciodvfy") or pytest.skip("no dciodvfy: it is in Debian's dicom3tools")


def faults(validator, path):
    told = subprocess.run([validator, path], capture_output=True, text=True, check=False).stderr
    assert "Segmentation" in told
    return [line for line in told.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("files", [series_files, lambda: [enhanced()]], ids=["slices", "enhanced"])
def test_valid(files, validator, tmp_path):
    path, *_ = written(tmp_path, files())
    assert faults(validator, path) == []


def test_valid_for_a_real_series_without_uids(validator, tmp_path):
    def label(shape):
        made = np.zeros(shape, np.uint8)
        made[3:9, 250:300, 150:210] = 1
        made[5:7, 260:270, 170:190] = 2
        return made

    path, *_ = written_for(tmp_path, example_series(), label)
    assert faults(validator, path) == []
