"""The cases of a run, by folds and batches."""

from pathlib import Path

import pytest

from renal.data.cases import Case
from renal.data.cohort import Cohort
from renal.errors import InputError


def cohort(root: Path, names: list[str], excluded=()) -> Cohort:
    cases = [
        Case(name, root / name / "imaging.nii.gz", root / name / "label.nii.gz") for name in names
    ]
    settings = {"folds": 2, "seed": 0, "batch_size": 2, "groups": {}}
    return Cohort(cases, root, root.parent / "results/folds.csv", excluded=excluded, **settings)


@pytest.fixture
def dealt(tmp_path):
    """The data folder of six cases whose folds are stored."""
    (tmp_path / "data").mkdir()
    cohort(tmp_path / "data", [f"case_{n}" for n in range(6)]).store_folds()
    return tmp_path / "data"


def test_a_case_whose_folder_is_gone_is_a_fault(dealt):
    with pytest.raises(InputError, match=r"case_2, case_4: in folds\.csv .* data\.exclude"):
        cohort(dealt, ["case_0", "case_1", "case_3", "case_5"])


def test_a_case_that_the_user_leaves_out_is_none(dealt):
    found = cohort(dealt, ["case_0", "case_1", "case_3", "case_4", "case_5"], ["case_2"])
    assert sorted(found.cases) == ["case_0", "case_1", "case_3", "case_4", "case_5"]


def test_cases_that_stand_in_on_a_machine_without_data_are_none(dealt):
    dealt.rmdir()
    assert len(cohort(dealt, ["case_7", "case_8"]).cases) == 2
