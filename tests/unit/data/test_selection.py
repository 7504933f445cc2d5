"""Which cases are tests, and which belong together."""

import re

import pytest

from renal.data.cases import IMAGE, LABEL
from renal.data.selection import read_groups, select_cases
from renal.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Ten labelled cases and one that is not."""
    for number in range(11):
        folder = tmp_path / f"data/case_{number:05d}"
        folder.mkdir(parents=True)
        (folder / IMAGE).touch()
        if number < 10:
            (folder / LABEL).touch()
    return tmp_path / "data"


def numbers_of(cases):
    return [int(case.name[-5:]) for case in cases if case.test]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ((), []),
        (("3-5", "case_00001", 7), [1, 3, 4, 5, 7]),
        (("8-9", "9"), [8, 9]),
    ],
)
def test_tests_are_told_by_names_numbers_and_ranges(root, test, expected):
    assert numbers_of(select_cases(root, test=test)) == expected


def test_labels_of_nnunet_that_mean_something_else_are_refused(tmp_path):
    for path in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    description = tmp_path / "dataset.json"
    description.write_text('{"labels": {"background": 0, "kidney": 1, "tumor": 2}}')
    assert [case.name for case in select_cases(tmp_path)] == ["a"]
    description.write_text('{"labels": {"background": 0, "kidney": 2, "tumor": 1}}')
    with pytest.raises(InputError, match="tumor is 1"):
        select_cases(tmp_path)


def test_tests_are_told_by_a_file(root, tmp_path):
    (tmp_path / "test.txt").write_text("# the test set\n2-3\n\ncase_00009\n")
    assert numbers_of(select_cases(root, test=tmp_path / "test.txt")) == [2, 3, 9]
    with pytest.raises(InputError, match="cannot be read"):
        select_cases(root, test=tmp_path / "none.txt")


@pytest.mark.parametrize("wanted", ["case_1", "210-299", 42, "5-3", "patient"])
def test_a_test_that_is_not_there_is_told(root, wanted):
    with pytest.raises(InputError, match=f"data.test: {wanted} is no case's"):
        select_cases(root, test=(1, wanted))


def test_a_number_of_too_many_digits_is_no_case(root):
    for wanted in ("0-1" + "0" * 5000, "1" * 5000):
        with pytest.raises(InputError, match=r"data\.test: .{80} is no case's"):
            select_cases(root, test=(wanted,))


def test_a_test_without_a_label_is_told(root):
    with pytest.raises(InputError, match="case_00010 without a label"):
        select_cases(root, test=("8-10",))


def test_a_further_folder_is_only_segmented(root, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/a b.nii.gz").touch()
    case = select_cases(root, unlabelled=tmp_path / "own")[0]
    assert case.name == "a_b" and not case.labelled
    assert case.image == tmp_path / "own/a b.nii.gz" and case.files
    (tmp_path / "own/case_00003.nii.gz").touch()
    with pytest.raises(InputError, match="has a case case_00003, too"):
        select_cases(root, unlabelled=tmp_path / "own")


def test_groups_are_read(root, tmp_path):
    assert read_groups(None, []) == {}
    path = tmp_path / "groups.csv"
    path.write_text("case,group\ncase_00001,P1\ncase_00002,P1\ncase_00777,P2\n")
    cases = select_cases(root)
    groups = {"case_00001": "P1", "case_00002": "P1", "case_00777": "P2"}
    assert read_groups(path, cases, ["case_00777"]) == groups
    with pytest.raises(InputError, match="line 4: case 'case_00777' is none"):
        read_groups(path, cases)


@pytest.mark.parametrize(
    ("rows", "about"),
    [
        ("case_00001,P1\ncase_00001,P2", "line 3: case 'case_00001' is there twice"),
        ("case_00001,", "line 2: case 'case_00001' has no group"),
        ("case_00001,P1\ncase_00009,P1", "P1: some of the cases are in data.test"),
    ],
)
def test_groups_that_contradict_are_told(root, tmp_path, rows, about):
    path = tmp_path / "groups.csv"
    path.write_text(f"case,group\n{rows}\n")
    with pytest.raises(InputError, match=re.escape(about)):
        read_groups(path, select_cases(root, test=(9,)))
