"""Prepared cases: read as they were written, and what to delete where a part of them is gone."""

import numpy as np
import pytest

from renal.errors import InputError
from renal.files import write_array
from renal.handover.prepared import (
    PreparedCase,
    entry_of,
    image_file,
    label_file,
    read_images,
    read_index,
    read_labels,
    write_index,
)


def test_the_index_is_read_as_it_was_written(tmp_path):
    cases = [
        PreparedCase("case_b", (3, 4, 5), [((0, 3), (1, 4), (2, 5)), ((0, 1), (0, 1), (0, 1))]),
        PreparedCase("case_a", (6, 7, 8), []),
        PreparedCase("case_c", (9, 9, 9), [((0, 9),) * 3], [((1, 2), (0, 0), (3, 0))]),
    ]
    write_index(tmp_path / "folder", cases)
    assert list(read_index(tmp_path / "folder").values()) == cases


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_file_gone_from_a_folder_names_the_folder_to_delete(tmp_path, kind):
    folder = tmp_path / "resampled"
    write_index(folder, [PreparedCase("case_00000", (2, 3, 4), [((0, 2), (0, 3), (0, 4))])])
    write_array(image_file(folder, "case_00000", 0), np.zeros((2, 3, 4), np.int16))
    write_array(label_file(folder, "case_00000", 0), np.zeros((2, 3, 4), np.uint8))
    prepared = read_index(folder)["case_00000"]
    read = read_images if kind == "image" else read_labels
    assert len(read(folder, prepared)) == 1
    gone = folder / f"case_00000.0.{kind}.npy"
    gone.unlink()
    with pytest.raises(InputError, match=f"delete the folder {folder}") as told:
        read(folder, prepared)
    assert str(gone) in str(told.value) and "\n" not in str(told.value)


FLAT = '[{"name": "case_00000", "shape": [2, 3], "boxes": [], "slack": []}]'


@pytest.mark.parametrize(
    "content", [None, "", '{"name": 1}', "[1]", '[{"name": "case_00000"}]', FLAT]
)
def test_an_index_that_is_missing_or_damaged_names_the_folder_to_delete(tmp_path, content):
    if content is not None:
        (tmp_path / "cases.json").write_text(content)
    with pytest.raises(InputError, match=f"delete the folder {tmp_path}") as told:
        read_index(tmp_path)
    assert "cases.json" in str(told.value) and "\n" not in str(told.value)


def test_a_case_that_the_index_lacks_names_the_folder_to_delete(tmp_path):
    case = PreparedCase("case_a", (6, 7, 8), [])
    assert entry_of({"case_a": case}, tmp_path, "case_a") is case
    with pytest.raises(InputError, match="case_b is missing: delete the folder") as told:
        entry_of({"case_a": case}, tmp_path, "case_b")
    assert str(told.value).startswith(f"{tmp_path}: ") and "\n" not in str(told.value)
