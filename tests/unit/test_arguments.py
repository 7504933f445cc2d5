"""Every argument of every step, given what it is not: one line that names it, and no traceback."""

import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from renal import __main__ as command_line
from renal.handover.case_files import write_files
from renal.handover.checked import write_checked
from renal.handover.prepared import PreparedCase, write_index
from renal.handover.seals import write_seal
from renal.recipe import load_method
from renal.recipe.parts import imported, merging, prediction, region_crop, row
from renal.settings import as_json

RECIPES = {name: load_method(name, {}) for name in ("resvnet", "mrbnet", "nnunet")}
STAGE = RECIPES["resvnet"].stages["whole"]
LOOKING = next(name for name, stage in RECIPES["mrbnet"].stages.items() if stage.regions)
SETTINGS = {
    "crop_body": '{"threshold_hu": -300, "opening_mm": 5}',
    "crop_roi": as_json(region_crop(RECIPES, "mrbnet", LOOKING)),
    "evaluate": as_json(merging(RECIPES, "resvnet")),
    "import_segmentations": as_json(imported(RECIPES["nnunet"])),
    "merge": as_json(merging(RECIPES, "resvnet")),
    "plan_nnunet": as_json(RECIPES["nnunet"].nnunet.planning),
    "predict": as_json(prediction(STAGE)),
    "resample": '{"size": [8, 8, 8]}',
    "train": as_json(STAGE.training),
    "train_nnunet": as_json(RECIPES["nnunet"].nnunet.training),
    "window_normalize": as_json(STAGE.intensity),
    "write_nnunet_dataset": as_json(RECIPES["nnunet"].nnunet.planning),
    "write_tables": json.dumps({"resvnet": row(RECIPES, "resvnet").model_dump(mode="json")}),
}


@pytest.fixture(scope="module")
def files(checked, shared_kits19, tmp_path_factory):
    """Something sound for every argument that is a path, as far as a fault beside it is reached."""
    folder = tmp_path_factory.mktemp("arguments")
    write_checked(folder / "checked.json", checked)
    write_files(folder / "files.json", {case.name: (Path(case.image), None) for case in checked})
    write_index(folder / "prepared", [PreparedCase("case_00000", (8, 8, 8), [])])
    (folder / "segmentations").mkdir()
    (folder / "boxes.json").write_text("{}")
    (folder / "scores.csv").write_text("case,fold\n")
    (folder / "history.csv").write_text("epoch,loss,dice,learning_rate\n1,1,1,1\n")
    (folder / "model.safetensors").write_bytes(b"")
    for path in list(folder.iterdir()):
        write_seal(path)
    shutil.copytree(shared_kits19, folder / "data")
    return folder


SOUND = {
    "--annotators": "scores.csv",
    "--boxes": "boxes.json",
    "--cases": "case_00000",
    "--checked": "checked.json",
    "--data": "data",
    "--dataset": "segmentations",
    "--files": "files.json",
    "--fold": "0",
    "--histories": "history.csv",
    "--labelled": "1",
    "--labels": "kits19",
    "--listed": "scores.csv",
    "--located": "prepared",
    "--maximum-voxels": "1000000",
    "--minutes": "10",
    "--models": "model.safetensors",
    "--name": "name",
    "--planned": "segmentations",
    "--pictures": "model.safetensors",
    "--prediction": "prepared",
    "--predictions": "prepared",
    "--prepared": "prepared",
    "--python": "model.safetensors",
    "--results": "segmentations",
    "--scores": "scores.csv",
    "--seed": "0",
    "--segmentations": "segmentations",
    "--settings": "{}",
    "--size": "64",
    "--source": "prepared",
    "--tables": "segmentations",
    "--truths": "prepared",
    "--unlabelled": "0",
    "--weights": "model.safetensors",
}
PATHS = {name for name in SOUND if command_line.OPTIONS.get(name, {}).get("type") is not None} - {
    "--fold",
    "--labelled",
    "--labels",
    "--maximum-voxels",
    "--minutes",
    "--seed",
    "--size",
    "--unlabelled",
}
NUMBERS = {"--fold", "--labelled", "--maximum-voxels", "--minutes", "--seed", "--size"} | {
    "--unlabelled",
    "--threads",
}
BAD_NUMBERS = ["", "-1", "many", "nan", "9" * 30 + "x"]
BAD_SETTINGS = ["", "{", "[]", "null", "3", '{"colour": "green"}', "[" * 100_000, "\udcff"]
FAULTS = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "folder": lambda path: path.mkdir(),
    "number": lambda path: path.write_text("3"),
    "list": lambda path: path.write_text('[{"name": 3}, 4]'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "table": lambda path: path.write_text("a,b\n1,2,3\n4\n"),
    "link": lambda path: path.symlink_to(path.parent / "nowhere"),
    "damaged": lambda path: _folder_of(path, b"[3]"),
}


def _folder_of(path, index):
    path.mkdir()
    (path / "cases.json").write_bytes(index)


def named_options(step):
    for option in command_line.STEPS[step].split():
        name = option.strip("[].=")
        yield name, option.endswith("=")


def arguments(step, files, output, **instead):
    """A call of a step, with some arguments replaced."""
    call = [step.__name__, "--output", str(output)]
    for name, pairs in named_options(step):
        if name == "--weights" or (name == "--bfloat16-on-cpu"):
            continue
        value = SETTINGS.get(step.__name__, "{}") if name == "--settings" else SOUND[name]
        value = instead.get(name, files / value if name in PATHS else value)
        if name.startswith("--"):
            call.append(name)
        # Every stage that a method has, and the groups of cases.
        stages = ("all", *RECIPES["resvnet"].stages)
        call += [f"{stage}={value}" for stage in stages] if pairs else [str(value)]
    return call


@pytest.fixture(scope="module")
def parser():
    """Built once for all calls: that takes longer than most of them."""
    return command_line.parser()


@pytest.fixture
def told(parser, monkeypatch, capsys):
    """Run a step; what it says, once it has ended as a step with bad arguments should."""
    monkeypatch.setattr(command_line, "parser", lambda: parser)
    log = logging.getLogger("renal")
    monkeypatch.setattr(log, "level", log.level)
    monkeypatch.setattr(command_line, "end_orderly", lambda: None)

    def run(call):
        monkeypatch.setattr(log, "handlers", [])
        monkeypatch.setattr(sys, "argv", ["renal", *call])
        try:
            status = command_line.main()
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr().err
        assert status in (1, 2), said
        assert "internal error" not in said and "Traceback" not in said, said
        assert len(said.splitlines()) == 1 or said.startswith("usage:"), said
        return said

    return run


STEPS = sorted(command_line.STEPS, key=lambda step: step.__name__)
# The list of cases is optional there; all faulty cases are recorded, or told, a line each.
LEGAL = {
    ("list_cases", "--data"),
    ("check_cases", "--data"),
    ("validate", "--data"),
}
CASES = [
    pytest.param(step, name, id=f"{step.__name__}{name}")
    for step in STEPS
    for name, _ in named_options(step)
    if name in PATHS and name != "--weights" and (step.__name__, name) not in LEGAL
]


@pytest.mark.parametrize(("step", "option"), CASES)
def test_a_path_that_is_something_else(step, option, files, tmp_path, told):
    for fault, make in FAULTS.items():
        path = tmp_path / fault
        make(path)
        told(arguments(step, files, tmp_path / "output", **{option: path}))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_numbers_and_settings_that_are_none(step, files, tmp_path, told):
    names = {name for name, _ in named_options(step)}
    for name in [*sorted(names & NUMBERS), "--threads"]:
        for value in BAD_NUMBERS:
            call = arguments(step, files, tmp_path / "output", **{name: value})
            if name == "--threads":
                call[1:1] = [name, value]
            assert name in told(call)
    if "--settings" in names:
        for value in BAD_SETTINGS:
            told(arguments(step, files, tmp_path / "output", **{"--settings": value}))
    with_unknown = arguments(step, files, tmp_path / "output")
    assert "--colour" in told([*with_unknown, "--colour", "green"])


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_an_output_or_a_log_that_cannot_be(step, files, tmp_path, told):
    (tmp_path / "file").write_text("kept")
    told(arguments(step, files, tmp_path / "file" / "output"))
    assert (tmp_path / "file").read_text() == "kept"
    told([*arguments(step, files, tmp_path / "output"), "--log", str(tmp_path)])


def test_a_step_that_needs_a_stage_says_which(files, tmp_path, told):
    call = arguments(command_line.steps.merge, files, tmp_path / "output")
    assert "--predictions: whole=path is needed" in told(
        [part for part in call if not part.startswith("whole=")]
    )
