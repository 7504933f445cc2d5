"""The cases of a run, by folds and batches."""

from pathlib import Path

import pytest

from renal.data.cases import Case
from renal.data.cohort import Cohort
from renal.data.selection import select_cases
from renal.errors import InputError


def cohort(root: Path, names: list[str], excluded=()) -> Cohort:
    cases = [
        Case(name, root / name / "imaging.nii.gz", root / name / "label.nii.gz") for name in names
    ]
    return cohort_of(cases, root, excluded)


def cohort_of(cases: list[Case], root: Path, excluded=()) -> Cohort:
    settings = {"folds": 2, "seed": 0, "batch_size": 2, "groups": {}}
    return Cohort(cases, root, root.parent / "results/folds.csv", excluded=excluded, **settings)


@pytest.fixture
def dealt(tmp_path):
    """The data folder of six cases whose folds are stored."""
    (tmp_path / "data").mkdir()
    cohort(tmp_path / "data", [f"case_{n}" for n in range(6)]).store()
    return tmp_path / "data"


def test_a_case_whose_folder_is_gone_is_a_fault(dealt):
    with pytest.raises(InputError, match=r"case_2, case_4: in folds\.csv .* take its line out"):
        cohort(dealt, ["case_0", "case_1", "case_3", "case_5"])


def test_a_case_that_the_user_leaves_out_is_none(dealt):
    found = cohort(dealt, ["case_0", "case_1", "case_3", "case_4", "case_5"], ["case_2"])
    assert sorted(found.cases) == ["case_0", "case_1", "case_3", "case_4", "case_5"]


def test_cases_that_stand_in_on_a_machine_without_data_are_none(dealt):
    dealt.rmdir()
    assert len(cohort(dealt, ["case_7", "case_8"]).cases) == 2
    # Nor is one of them a case that was labelled when the folds were stored.
    names = {"case_7": "label.nii.gz", "case_8": "label.nii.gz", "case_0": None}
    cases = [Case(name, dealt / name, label and dealt / label) for name, label in names.items()]
    assert cohort_of(cases, dealt).unlabelled == ["unlabelled-000"]


# -- tests, which have no fold --------------------------------------------------------------------


@pytest.fixture
def nnunet(tmp_path):
    """nnU-Net's raw data of four cases and two tests, whose folds are stored."""
    root = tmp_path / "data"
    for part, names in (("Tr", "abcd"), ("Ts", "ef")):
        for kind, end in (("images", "_0000.nii.gz"), ("labels", ".nii.gz")):
            (root / f"{kind}{part}").mkdir(parents=True)
            for name in names:
                (root / f"{kind}{part}/{name}{end}").touch()
    cohort_of(select_cases(root), root).store()
    return root


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (["labelsTs/e.nii.gz"], r"^e: labelled when folds\.csv .* there is no label"),
        (
            ["labelsTs/e.nii.gz", "imagesTs/e_0000.nii.gz"],
            r"^e: in folds\.csv .* take its line out",
        ),
    ],
)
def test_a_test_that_lost_its_label_or_is_gone_is_a_fault(nnunet, lost, words):
    for name in lost:
        (nnunet / name).unlink()
    with pytest.raises(InputError, match=words):
        cohort_of(select_cases(nnunet), nnunet)
    stored = nnunet.parent / "results/folds.csv"
    text = stored.read_text().replace("e,,test-000\n", "").replace("cases=6", "cases=5")
    stored.write_text(text)
    assert cohort_of(select_cases(nnunet), nnunet).batches["test-000"] == ["f"]


def test_a_test_that_is_one_no_more_is_dealt(dealt):
    """Nothing has learned from it."""
    names = [f"case_{n}" for n in range(8)]
    cases = [Case(n, dealt / n / "i", dealt / n / "l", test=n > "case_5") for n in names]
    cohort_of(cases, dealt).store()
    assert cohort_of(cases, dealt).tested == ["test-000"]
    assert cohort(dealt, names).tested == []
