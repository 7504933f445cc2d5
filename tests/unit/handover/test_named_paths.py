"""Tests of paths by names."""

from pathlib import Path

import pytest

from renal.errors import InputError
from renal.handover.named_paths import grouped, of_all

ONE, OTHER, THIRD = Path("one"), Path("other"), Path("third")


def test_paths_of_one_name_stay_together_in_their_order():
    named = [("fold1", ONE), ("fold0", OTHER), ("fold1", THIRD)]
    assert grouped(named) == {"fold1": [ONE, THIRD], "fold0": [OTHER]}


def test_a_name_without_a_path_is_told():
    assert of_all("--scores", {"a": ONE, "b": OTHER}, ["a"]) == {"a": ONE, "b": OTHER}
    with pytest.raises(InputError, match="--scores: c=path is needed, too"):
        of_all("--scores", {"a": ONE}, ["a", "c"])
