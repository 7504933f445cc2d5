"""Which image steps run in, and what is refused."""

import pytest

from renal.cluster.containers import BUILT, image_of
from renal.errors import InputError


def test_its_path_does_not_say_where_the_clone_lies(tmp_path, monkeypatch):
    (tmp_path / "clone/envs").mkdir(parents=True)
    (tmp_path / "clone" / BUILT).touch()
    monkeypatch.chdir(tmp_path / "clone")
    assert image_of(tmp_path / "clone", nnunet=False) == "envs/renal.sif"
    monkeypatch.chdir(tmp_path)
    assert image_of(tmp_path / "clone", nnunet=False) == "clone/envs/renal.sif"


def test_a_missing_image_is_told_with_the_command_that_builds_it(tmp_path):
    with pytest.raises(InputError, match=r"missing: build it .*envs/renal\.def"):
        image_of(tmp_path, nnunet=False)


def test_nnunet_is_not_in_it(tmp_path):
    with pytest.raises(InputError, match="nnU-Net is not in the image"):
        image_of(tmp_path, nnunet=True)
