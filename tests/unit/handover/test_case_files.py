"""The list of where the files of cases lie: read as it was written, and refused where it is not."""

from pathlib import Path

import pytest

from renal.errors import InputError
from renal.handover.case_files import read_files, usable_with_files, write_files
from renal.handover.checked import CheckedCase, write_checked

FILES = {
    "case_1": (Path("/there/1.nii.gz"), Path("labels/1.nii.gz")),
    "case_2": (Path("../a b/2.nii.gz"), None),
}


@pytest.fixture
def listed(tmp_path):
    write_files(tmp_path / "files.json", FILES)
    return tmp_path / "files.json"


def test_the_files_of_some_cases_are_read_as_they_were_written(listed):
    assert read_files(listed, FILES) == FILES
    assert read_files(listed, ["case_2"]) == {"case_2": FILES["case_2"]}


def test_cases_get_the_paths_of_their_files(listed, tmp_path):
    cases = [CheckedCase("case_2", "old"), CheckedCase("case_1", "old", "old")]
    write_checked(tmp_path / "record.json", cases)
    first, second = usable_with_files([tmp_path / "record.json"], listed)
    assert (first.image, first.label_path) == ("/there/1.nii.gz", Path("labels/1.nii.gz"))
    assert (second.image, second.label) == ("../a b/2.nii.gz", None)


def test_a_case_that_was_checked_without_a_label_has_none(listed, tmp_path):
    write_checked(tmp_path / "record.json", [CheckedCase("case_1", "old")])
    (case,) = usable_with_files([tmp_path / "record.json"], listed)
    assert not case.labelled


@pytest.mark.parametrize(
    "content", ["[]", "7", '{"case_1": 7}', '{"case_1": ["a"]}', '{"case_1": [1, 2]}', "{}", "["]
)
def test_a_list_that_is_damaged_or_another_is_named(listed, content):
    listed.write_text(content)
    with pytest.raises(InputError) as told:
        read_files(listed, ["case_1"])
    assert str(told.value).startswith(f"{listed}: ") and "\n" not in str(told.value)
    assert "run the workflow again" in str(told.value)
