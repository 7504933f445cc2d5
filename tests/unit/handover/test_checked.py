"""Records of checked cases: read as they were written, and refused where a labelled one is bad."""

from dataclasses import replace
from pathlib import Path

import pytest

from renal.errors import InputError
from renal.handover.checked import (
    CheckedCase,
    read_checked,
    refuse_labelled_faults,
    usable,
    write_checked,
)

GOOD = CheckedCase(
    "case_2",
    "two/imaging.nii.gz",
    "two/segmentation.nii.gz",
    shape=[3, 4, 5],
    spacing=[2.5, 0.75, 0.5],
    volumes_ml={"kidney": 300.5, "tumour": 0.0},
    checksum="0123abcd-4567ef01",
    notes=["no tumour in the label"],
)
UNLABELLED = CheckedCase("case_1", "one/imaging.nii.gz", shape=[2, 3, 4], spacing=[5.0, 1.0, 1.0])
BAD_UNLABELLED = CheckedCase("case_0", "zero/imaging.nii.gz", fault="zero/imaging.nii.gz: missing")
BAD_LABELLED = CheckedCase(
    "case_3",
    "three/imaging.nii.gz",
    "three/segmentation.nii.gz",
    fault="three/imaging.nii.gz: damaged",
)


def test_records_are_read_as_they_were_written(tmp_path):
    cases = [GOOD, UNLABELLED, BAD_UNLABELLED, BAD_LABELLED]
    write_checked(tmp_path / "new" / "batch.json", cases, Path())
    found = read_checked(tmp_path / "new" / "batch.json")
    assert list(found) == [case.name for case in cases]
    assert list(found.values()) == cases
    assert [case.labelled for case in cases] == [True, False, False, True]


def test_usable_are_the_cases_without_a_fault_of_all_batches_in_order_of_name(tmp_path):
    write_checked(tmp_path / "a.json", [GOOD, BAD_UNLABELLED], Path())
    write_checked(tmp_path / "b.json", [UNLABELLED], Path())
    assert usable([tmp_path / "a.json", tmp_path / "b.json"]) == [UNLABELLED, GOOD]
    assert usable([]) == []


def test_with_a_bad_labelled_case_nothing_is_usable_and_all_faults_are_told(tmp_path):
    write_checked(tmp_path / "a.json", [GOOD, BAD_UNLABELLED], Path())
    write_checked(tmp_path / "b.json", [UNLABELLED, BAD_LABELLED], Path())
    with pytest.raises(InputError) as told:
        usable([tmp_path / "a.json", tmp_path / "b.json"])
    first, second, last = str(told.value).splitlines()
    assert [first, second] == [BAD_UNLABELLED.fault, BAD_LABELLED.fault]
    assert last.startswith("2 of 4 cases cannot be used") and "data.exclude" in last


def test_faults_of_unlabelled_cases_alone_are_not_refused():
    refuse_labelled_faults([])
    refuse_labelled_faults([GOOD, UNLABELLED, BAD_UNLABELLED])
    with pytest.raises(InputError, match="1 of 1 cases cannot be used"):
        refuse_labelled_faults([BAD_LABELLED])


def test_what_a_case_lacks_is_told_in_a_line_with_its_name():
    assert GOOD.label_path == Path("two/segmentation.nii.gz")
    assert GOOD.spacing_mm == (2.5, 0.75, 0.5)
    with pytest.raises(InputError, match=r"^case_1: no label.*$"):
        _ = UNLABELLED.label_path
    with pytest.raises(InputError, match=f"^case_3: {BAD_LABELLED.fault}$"):
        _ = BAD_LABELLED.spacing_mm
    with pytest.raises(InputError, match=r"^case_4: no spacing.*$"):
        _ = CheckedCase("case_4", "four/imaging.nii.gz").spacing_mm


def test_paths_are_stored_relative_to_the_data_folder(tmp_path):
    there = [replace(GOOD, image="/old/two/imaging.nii.gz", label="/old/two/segmentation.nii.gz")]
    write_checked(tmp_path / "a.json", there, Path("/old"))
    assert usable([tmp_path / "a.json"]) == [GOOD]
    (case,) = usable([tmp_path / "a.json"], Path("/new"))
    assert (case.image, case.label) == ("/new/two/imaging.nii.gz", "/new/two/segmentation.nii.gz")


def test_a_record_that_names_a_data_folder_by_itself_is_refused(tmp_path):
    write_checked(tmp_path / "a.json", [GOOD], Path())
    record = tmp_path / "a.json"
    record.write_text(record.read_text().replace("two/imaging", "/old/two/imaging"))
    with pytest.raises(InputError, match=r"a\.json: of an earlier version: delete it"):
        usable([record], Path("/new"))


@pytest.mark.parametrize(
    "content", ['[{"name": "case_0"}]', '[{"name": "a", "image": "a", "odd": 1}]', "7"]
)
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError) as told:
        read_checked(tmp_path / "a.json")
    assert str(told.value) == (
        f"{tmp_path}/a.json: damaged, no record of cases: delete it and run the workflow again"
    )
