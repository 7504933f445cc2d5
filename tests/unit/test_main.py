"""The command line: exit status, and one line instead of a traceback."""

import json
import logging
import math
import sys
from pathlib import Path

import pytest

from renal import __main__ as command_line
from renal import evaluation, inference, merge, phantom, prepare, recipe, training, validation
from renal.errors import InputError, Stopped
from renal.evaluate.settings import Merging
from renal.prepare.settings import RegionCrop

ARGUMENTS = ["phantom", "--labelled", "1", "--unlabelled", "0", "--seed", "0", "--size", "64"]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a step that ends with a fault, or with none; gives the exit status."""
    log = logging.getLogger("renal")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)

    def run_step(fault=None, *options):
        def work(*_, **__):
            if fault is not None:
                raise fault

        monkeypatch.setattr(phantom, "write_phantom", work)
        arguments = [*ARGUMENTS, "--output", str(tmp_path / "data"), *options]
        monkeypatch.setattr(sys, "argv", ["renal", *arguments])
        return command_line.main()

    return run_step


@pytest.fixture
def log_file(tmp_path):
    return tmp_path / "logs" / "phantom.log"


def test_a_step_that_went_well(run, log_file, capsys):
    assert run(None, "--log", str(log_file)) == 0
    assert capsys.readouterr() == ("", "")
    assert log_file.read_text().startswith("finished after 0.")


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (InputError("a.csv: damaged: mend it"), 1, "error: a.csv: damaged: mend it"),
        (Stopped("stopped after epoch 2"), 1, "stopped after epoch 2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_that_ends_early_is_told_in_one_line(run, log_file, capsys, fault, status, line):
    assert run(fault, "--log", str(log_file)) == status
    assert capsys.readouterr() == ("", f"{line}\n")
    (logged,) = log_file.read_text().splitlines()
    assert logged.endswith(f" {line}")


def test_a_fault_of_the_program_has_its_traceback_in_the_log(run, log_file, capsys):
    assert run(ValueError("odd"), "--log", str(log_file)) == 1
    told = capsys.readouterr().err
    assert told == f"internal error: ValueError: odd (see {log_file})\n"
    assert "Traceback" in log_file.read_text()


def test_debugging_shows_where_a_fault_arose(run, capsys):
    assert run(InputError("a.csv: damaged"), "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


# -- what a step hands on -------------------------------------------------------------------------


STAGES = {
    "segment": {"target": ["whole", "tumour"], "components": {}, "members": 2},
    "localize": {"target": "whole", "components": {}},
}
MERGING = json.dumps(
    {
        "family": "tiny",
        "stages": STAGES,
        "merge": {
            "name": "tumour_within_whole",
            "whole": "segment.whole",
            "tumour": "segment.tumour",
        },
        "grid": "coarse",
    }
)


@pytest.fixture
def handed(monkeypatch):
    """Runs a step up to the function that does its work, and gives what that was handed."""

    def run_step(module, name, *arguments):
        seen = {}

        def work(*given, **keywords):
            seen.update(keywords, given=given)
            return []

        monkeypatch.setattr(module, name, work)
        monkeypatch.setattr(validation, "usable", lambda paths: paths)
        a = command_line.parser().parse_args([name, "--output", "out", *arguments])
        a.step(a)()
        return seen

    return run_step


def test_merging_gets_the_folders_of_each_stages_members(handed):
    folders = ["one/segment", "two/segment", "three/localize"]
    seen = handed(
        *(merge, "merge", "--checked", "c.json"),
        *("--predictions", *folders, "--settings", MERGING),
    )
    _, predictions, settings, _ = seen["given"]
    assert predictions == {
        "segment": [Path("one/segment"), Path("two/segment")],
        "localize": [Path("three/localize")],
    }
    assert settings == Merging.model_validate_json(MERGING)


def test_scoring_gets_the_truths_of_every_stage_and_of_the_grid(handed):
    folders = [f"{stage}/{batch}" for stage in ("s", "l", "c") for batch in range(2)]
    seen = handed(
        *(evaluation, "evaluate", "--checked", "c.json", "--segmentations", "merged"),
        *("--truths", *folders, "--settings", MERGING, "--name", "tiny", "--fold", "3"),
        *("--located", "roi"),
    )
    _, segmentations, truths, _, _ = seen["given"]
    assert segmentations == Path("merged")
    assert truths == {
        "segment": [Path("s/0"), Path("s/1")],
        "localize": [Path("l/0"), Path("l/1")],
        "coarse": [Path("c/0"), Path("c/1")],
    }
    assert (seen["name"], seen["fold"], seen["located"]) == ("tiny", 3, Path("roi"))


REGION = RegionCrop(
    geometry={},
    intensity={},
    regions={"stage": "localize", "axes": ["y", "x"]},
    components={},
    outer={"stage": "slab", "axes": ["z"]},
)


def test_true_regions_are_cut_with_labels_and_reach_as_far_as_predicted_ones(handed):
    options = ["--checked", "c.json", "--settings", REGION.model_dump_json()]
    seen = handed(prepare, "crop_roi", *options)
    _, settings, mask_of, _ = seen["given"]
    assert settings == REGION
    assert (mask_of.func, mask_of.keywords) == (prepare.true_mask, {"outer": REGION.outer})
    assert seen["labels"]
    seen = handed(prepare, "crop_roi", *options, "--prediction", "located")
    mask_of = seen["given"][2]
    assert (mask_of.func, mask_of.args) == (inference.native_mask_of, (Path("located"),))
    assert not seen["labels"]


@pytest.mark.parametrize("weights", [None, "weights.pth"])
def test_training_gets_pretrained_weights_where_there_are_any(handed, weights):
    settings = recipe.load_method("resvnet", {}).stages["whole"].training
    options = ["--weights", weights] if weights else []
    seen = handed(
        *(training, "train", "--prepared", "one", "two", "--settings", settings.model_dump_json()),
        *("--seed", "7", "--name", "tiny", *options),
    )
    assert seen["given"] == ([Path("one"), Path("two")], settings, Path("out"))
    assert seen["weights"] == (Path(weights) if weights else None)
    assert (seen["seed"], seen["minutes"]) == (7, math.inf)


def test_settings_that_do_not_fit_are_told_in_one_line():
    a = command_line.parser().parse_args(
        ["resample", "--checked", "c.json", "--output", "out", "--settings", '{"size": [1, 2]}']
    )
    with pytest.raises(InputError, match=r"--settings: .*size") as error:
        a.step(a)
    assert "\n" not in str(error.value)
