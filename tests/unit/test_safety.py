"""Files that carry code are refused, and the code does not run."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from renal.data.cases import find_cases
from renal.data.folds import read_assignments
from renal.errors import InputError
from renal.learn.run_state import read_state, write_state
from renal.recipe import load_method


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_code_in_a_state_does_not_run(tmp_path, caplog):
    state, mark = tmp_path / "state.pt", tmp_path / "mark"
    write_state(state, "print", {"network": {"a": torch.ones(2)}})
    assert read_state(state, "print") is not None
    torch.save({"fingerprint": "print", "network": Bomb(mark)}, state)
    assert read_state(state, "print") is None
    assert "cannot be used" in caplog.text
    state.write_bytes(pickle.dumps(Bomb(mark)))
    assert read_state(state, "print") is None
    with zipfile.ZipFile(state, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark)))
    assert read_state(state, "print") is None
    assert not mark.exists()


def test_code_in_a_recipe_does_not_run(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "bad.yaml").write_text(f"!!python/object/apply:pathlib.Path.touch [{mark}]")
    with pytest.raises(InputError, match=r"bad\.yaml: not valid YAML"):
        load_method("bad", {}, tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    ["case_..", "case_a;b", "case_$(touch mark)", "case_ 1", "case_1\n", "../case_1", "case_"],
)
def test_names_that_are_no_case_are_no_case(tmp_path, name):
    (tmp_path / "data" / "case_00000").mkdir(parents=True)
    (tmp_path / "data" / name).mkdir(exist_ok=True)
    excluded = [] if "/" in name else [name]  # which leaves out what would be refused
    assert [c.name for c in find_cases(tmp_path / "data", excluded)] == ["case_00000"]
    stored = tmp_path / "folds.csv"
    stored.write_text(f'# folds=2 seed=1\ncase,fold,batch\n"{name}",0,fold0-000\n')
    with pytest.raises(InputError, match="damaged"):
        read_assignments(stored, folds=2, seed=1)


@pytest.mark.parametrize(
    "batch", ["../x-000", "fold0-000/../x", "fold0-$(touch mark)", "fold1-000"]
)
def test_batches_that_are_no_batch_are_refused(tmp_path, batch):
    stored = tmp_path / "folds.csv"
    stored.write_text(f'# folds=2 seed=1\ncase,fold,batch\ncase_1,0,"{batch}"\n')
    with pytest.raises(InputError, match="damaged"):
        read_assignments(stored, folds=2, seed=1)
