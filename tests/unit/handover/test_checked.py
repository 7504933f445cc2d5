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
    "",
    "",
    shape=[3, 4, 5],
    spacing=[2.5, 0.75, 0.5],
    volumes_ml={"kidney": 300.5, "tumour": 0.0},
    checksum="0123abcd-4567ef01",
    notes=["no tumour in the label"],
)
UNLABELLED = CheckedCase("case_1", "", shape=[2, 3, 4], spacing=[5.0, 1.0, 1.0])
BAD_UNLABELLED = CheckedCase("case_0", "", fault="zero/imaging.nii.gz: missing")
BAD_LABELLED = CheckedCase(
    "case_3",
    "",
    "",
    fault="three/imaging.nii.gz: damaged",
)


def test_records_are_read_as_they_were_written(tmp_path):
    cases = [GOOD, UNLABELLED, BAD_UNLABELLED, BAD_LABELLED]
    write_checked(tmp_path / "new" / "batch.json", cases)
    found = read_checked(tmp_path / "new" / "batch.json")
    assert list(found) == [case.name for case in cases]
    assert list(found.values()) == cases
    assert [case.labelled for case in cases] == [True, False, False, True]


def test_a_fault_names_the_file_by_its_case_though_a_path_is_part_of_another(tmp_path):
    paths = ("/data/ct.nii.gz", "/mnt/data/ct.nii.gz")
    for image, label in (paths, paths[::-1]):
        bad = replace(BAD_LABELLED, image=image, label=label, fault=f"{paths[1]}: empty label")
        write_checked(tmp_path / "a.json", [bad])
        assert read_checked(tmp_path / "a.json")["case_3"].fault == "case_3/ct.nii.gz: empty label"


def test_usable_are_the_cases_without_a_fault_of_all_batches_in_order_of_name(tmp_path):
    write_checked(tmp_path / "a.json", [GOOD, BAD_UNLABELLED])
    write_checked(tmp_path / "b.json", [UNLABELLED])
    assert usable([tmp_path / "a.json", tmp_path / "b.json"]) == [UNLABELLED, GOOD]
    assert usable([]) == []


def test_with_a_bad_labelled_case_nothing_is_usable_and_all_faults_are_told(tmp_path):
    write_checked(tmp_path / "a.json", [GOOD, BAD_UNLABELLED])
    write_checked(tmp_path / "b.json", [UNLABELLED, BAD_LABELLED])
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
    assert GOOD.label_path == Path("")
    assert GOOD.spacing_mm == (2.5, 0.75, 0.5)
    with pytest.raises(InputError, match=r"^case_1: no label.*$"):
        _ = UNLABELLED.label_path
    with pytest.raises(InputError, match=f"^case_3: {BAD_LABELLED.fault}$"):
        _ = BAD_LABELLED.spacing_mm
    with pytest.raises(InputError, match=r"^case_4: no spacing.*$"):
        _ = CheckedCase("case_4", "four/imaging.nii.gz").spacing_mm


def test_records_name_no_file_but_in_faults_by_case(tmp_path):
    image, label = "/old/two/scan.nii.gz", "/old/two/7.nii.gz"
    faulty = replace(BAD_LABELLED, image=image, label=label, fault=f"{label}: is not like {image}")
    write_checked(tmp_path / "a.json", [replace(GOOD, image=image, label=label), faulty])
    assert "/old" not in (tmp_path / "a.json").read_text()
    good, bad = read_checked(tmp_path / "a.json").values()
    assert good == GOOD
    assert bad.fault == "case_3/7.nii.gz: is not like case_3/scan.nii.gz"


@pytest.mark.parametrize(
    "content", ['[{"name": "case_0"}]', '[{"name": "a", "image": "a", "odd": 1}]', "7"]
)
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError) as told:
        read_checked(tmp_path / "a.json")
    assert str(told.value) == (
        f"{tmp_path}/a.json: damaged, or of an earlier version: "
        "delete it and run the workflow again"
    )
