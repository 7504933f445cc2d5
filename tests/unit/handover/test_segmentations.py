"""Segmentations: where they lie, and what to delete where one is gone."""

import pytest

from renal.errors import InputError
from renal.handover.segmentations import segmentation_of


def test_a_missing_segmentation_names_the_folder_to_delete(tmp_path):
    (tmp_path / "case_0.nii.gz").touch()
    assert segmentation_of(tmp_path, "case_0") == tmp_path / "case_0.nii.gz"
    with pytest.raises(InputError) as told:
        segmentation_of(tmp_path, "case_1")
    message = str(told.value)
    assert message.startswith(f"{tmp_path}/case_1.nii.gz: missing") and "\n" not in message
    assert f"delete the folder {tmp_path}" in message
