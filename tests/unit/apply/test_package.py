"""Packages: what is written is read again, and what is no package is refused in one line."""

import json
import os
import zipfile

import pytest
from safetensors.torch import load

from renal.apply import package
from renal.apply.package import FORMAT, read_package, write_package
from renal.errors import InputError


def rewritten(source, target, change=None, models=None, **options):
    """A copy of a package with another description, other members, or stored otherwise."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "package.json" and change is not None:
                values = json.loads(content)
                change(values)
                content = json.dumps(values)
            elif models is not None and name in models:
                content = models[name]
            new.writestr(name, content)
    return target


def test_what_is_packed_comes_out(opened):
    assert opened.package.name == "resvnet"
    assert list(opened.package.stages) == ["resvnet/whole", "resvnet/tumour"]
    assert opened.package.stages["resvnet/tumour"].locator == "resvnet/whole"
    for stage in opened.package.stages.values():
        assert len(stage.models) == opened.package.folds == 2
        for model in stage.models:
            assert load(opened.weights(model))


def test_same_content_gives_the_same_bytes(opened, packed, tmp_path):
    results = packed.parent / "results"
    models = {
        name: results / name.removeprefix("models/").replace(".safe", "/model.safe")
        for stage in opened.package.stages.values()
        for name in stage.models
    }
    write_package(tmp_path / "again.renal", opened.package, models)
    assert (tmp_path / "again.renal").read_bytes() == packed.read_bytes()


def test_nothing_of_this_machine_is_in_it(packed, checked):
    content = packed.read_bytes()
    for hidden in (str(packed.parent), checked[0].name, "imaging.nii"):
        assert hidden.encode() not in content


def test_missing_and_cut_off_files_are_refused(packed, tmp_path):
    with pytest.raises(InputError, match="missing"):
        read_package(tmp_path / "none.renal")
    content = packed.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.renal").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.renal: damaged"):
            read_package(tmp_path / "cut.renal")


def test_a_pipe_is_no_package(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: damaged .*no regular file"):
        read_package(tmp_path / "pipe")


def test_altered_weights_are_refused(opened, packed, tmp_path):
    name = opened.package.stages["resvnet/whole"].models[0]
    other = opened.weights(opened.package.stages["resvnet/whole"].models[1])
    file = read_package(rewritten(packed, tmp_path / "other.renal", models={name: other}))
    with pytest.raises(InputError, match=r"fold0.* is not what was packed"):
        file.weights(name)


def test_a_flipped_bit_is_told(opened, packed, tmp_path):
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.renal").write_bytes(content)
    file = read_package(tmp_path / "flipped.renal")
    with pytest.raises(InputError, match="damaged"):
        for stage in opened.package.stages.values():
            for model in stage.models:
                file.weights(model)


def test_a_newer_format_asks_for_an_update(packed, tmp_path):
    """Also where it has parts that this program does not know."""
    path = rewritten(packed, tmp_path / "new.renal", lambda v: v.update(format=FORMAT + 1, new=1))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("calibration.json", b"{}")
    with pytest.raises(InputError, match=r"format 2, this program reads up to 1: update renal$"):
        read_package(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.pop("merging"), "merging: Field required"),
        (lambda v: v.update(unknown=1), "unknown: Extra inputs"),
        (lambda v: v["stages"].pop("resvnet/whole"), "locator is not an earlier stage"),
        (lambda v: v["hashes"].popitem(), "hashes are not those"),
        (lambda v: v["merged"].update(kidney=["resvnet/whole"]), "merged does not say"),
        (lambda v: v["merged"].update(whole=["other/whole"]), "other/whole, which is no stage"),
        (lambda v: v.update(folds=3), "not one for each fold"),
        (lambda v: v["stages"]["resvnet/tumour"].update(locator=None), "go together"),
        (lambda v: v["provenance"].update(trainings={}), "trainings: Dictionary should have"),
        (lambda v: [run.pop("torch") for run in v["provenance"]["trainings"].values()], "torch: "),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(packed, tmp_path, change, told):
    with pytest.raises(InputError, match=told):
        read_package(rewritten(packed, tmp_path / "wrong.renal", change))


def test_a_bomb_is_refused_before_it_is_unpacked(packed, tmp_path):
    path = rewritten(packed, tmp_path / "bomb.renal", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_package(path)


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd", "models/x.pickle"])
def test_members_that_no_package_has_are_refused(packed, tmp_path, name):
    path = rewritten(packed, tmp_path / "more.renal")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match="does not hold the files that it names"):
        read_package(path)


def test_members_beyond_those_named_are_refused(packed, tmp_path):
    path = rewritten(packed, tmp_path / "more.renal")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("models/resvnet/whole/fold9.safetensors", b"")
    with pytest.raises(InputError, match="does not hold the files that it names"):
        read_package(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_member_twice_is_refused(packed, tmp_path):
    path = rewritten(packed, tmp_path / "twice.renal")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("package.json", b"{}")
    with pytest.raises(InputError, match="overlap"):
        read_package(path)


def test_a_description_that_fills_the_memory_is_refused(packed, monkeypatch):
    monkeypatch.setattr(package, "LARGEST_DESCRIPTION", 100)
    with pytest.raises(InputError, match=r"package\.json has \d+ bytes"):
        read_package(packed)


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", b"")
    with pytest.raises(InputError, match=r"no package\.json in it"):
        read_package(tmp_path / "a.zip")
