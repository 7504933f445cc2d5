"""The steps: what each hands on to the function that does its work."""

import ast
import importlib
import inspect
import json
import math
import re
from pathlib import Path

import pytest
import torch

from renal.__main__ import STEPS, parser, prepared
from renal.cluster import gpus
from renal.data import listing
from renal.errors import InputError
from renal.evaluate import collect, corrections, evaluation, merge
from renal.evaluate.settings import Merging
from renal.handover import case_files, checked
from renal.handover.predictions import native_mask_of
from renal.labels import KITS19
from renal.learn import launch, training
from renal.learn.collapse import end_if_collapsed
from renal.learn.memory import GpuMemory
from renal.learn.pretrained import load_pretrained
from renal.learn.results import write_results
from renal.prepare import crop_roi
from renal.prepare.settings import RegionCrop
from renal.recipe import load_method, prediction
from renal.sources import PACKAGE

STAGES = {
    "segment": {"maps": ["kidney", "tumour"], "components": {}, "members": 2},
    "localize": {"maps": ["kidney"], "components": {}},
}
MERGING = json.dumps(
    {
        "family": "tiny",
        "stages": STAGES,
        "merge": {
            "name": "nested",
            "maps": {"kidney": "segment.kidney", "tumour": "segment.tumour"},
        },
        "grid": "coarse",
    }
)


@pytest.fixture
def handed(monkeypatch, tmp_path):
    """Runs a step up to the function that does its work, and gives what that was handed."""

    monkeypatch.chdir(tmp_path)  # which the folder `out` is made in

    def run_step(module, name, *arguments):
        seen = {}

        def work(*given, **keywords):
            seen.update(keywords, given=given, denormal=(torch.tensor(1e-30) * 1e-10).item())
            return []

        monkeypatch.setattr(module, name, work)
        monkeypatch.setattr(checked, "usable", lambda paths: paths)
        monkeypatch.setattr(case_files, "usable_with_files", lambda *given: given)
        a = parser().parse_args([name, "--output", "out", *arguments])
        a.step(a)()
        return seen

    return run_step


def test_merging_gets_the_folders_of_each_stages_members(handed):
    folders = ["segment=one/segment", "segment=two/segment", "localize=three/localize"]
    seen = handed(
        *(merge, "merge", "--files", "f.json", "--checked", "c.json"),
        *("--predictions", *folders, "--settings", MERGING),
    )
    cases, predictions, settings, _ = seen["given"]
    assert cases == ([Path("c.json")], Path("f.json"))
    assert predictions == {
        "segment": [Path("one/segment"), Path("two/segment")],
        "localize": [Path("three/localize")],
    }
    assert settings == Merging.model_validate_json(MERGING)


def test_scoring_gets_the_truths_of_every_stage_and_of_the_grid(handed):
    stages = ("segment", "localize", "coarse")
    folders = [f"{stage}={stage[0]}/{batch}" for stage in stages for batch in range(2)]
    seen = handed(
        *(evaluation, "evaluate", "--files", "f.json", "--checked", "c.json"),
        *("--segmentations", "merged"),
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
    options = ["--files", "f.json", "--checked", "c.json", "--settings", REGION.model_dump_json()]
    seen = handed(crop_roi, "crop_roi", *options)
    _, settings, mask_of, _ = seen["given"]
    assert settings == REGION
    assert (mask_of.func, mask_of.keywords) == (
        crop_roi.true_mask,
        {"outer": REGION.outer, "labels": KITS19},
    )
    assert seen["labels"] is KITS19
    seen = handed(crop_roi, "crop_roi", *options, "--prediction", "located")
    mask_of = seen["given"][2]
    assert (mask_of.func, mask_of.args) == (native_mask_of, (Path("located"),))
    assert seen["labels"] is None


@pytest.mark.parametrize(
    ("method", "stage", "weights"), [("resvnet", "whole", None), ("damnet", "fine", "weights.pth")]
)
def test_training_gets_pretrained_weights_where_there_are_any(handed, method, stage, weights):
    settings = load_method(method, {}).stages[stage].training
    options = ["--weights", weights] if weights else []
    seen = handed(
        *(training, "train", "--prepared", "one", "two", "--settings", settings.model_dump_json()),
        *("--seed", "7", "--name", "tiny", *options),
    )
    assert seen["given"] == ([Path("one"), Path("two")], settings, Path("out"))
    if weights:
        pretrain = seen["pretrain"]
        assert (pretrain.func, pretrain.args) == (load_pretrained, ())
        assert pretrain.keywords == {"path": Path(weights), "settings": settings.network.weights}
        assert settings.network.weights is not None
    else:
        assert seen["pretrain"] is None
    assert seen["write"] is write_results
    assert seen["memory"] is GpuMemory
    assert seen["watch"] is end_if_collapsed
    assert (seen["seed"], seen["stop"].since) == (7, math.inf)
    assert re.fullmatch("[0-9a-f]{8}", seen["code"])
    assert seen["denormal"] == 0
    assert torch.tensor(1e-30) * 1e-10 > 0  # and as ever afterwards


def test_a_training_that_a_cpu_has_too_little_memory_for_is_told(handed, monkeypatch):
    settings = load_method("resvnet", {}).stages["whole"].training.model_dump_json()
    options = [
        "--prepared",
        "one",
        "--settings",
        settings,
        "--seed",
        "7",
        "--name",
        "resvnet fold0",
    ]
    monkeypatch.setattr(training, "read_cases", lambda _: torch.empty(1 << 58))
    a = parser().parse_args(["train", "--output", "out", *options])
    with pytest.raises(InputError, match=r"^resvnet fold0: not enough memory \(.*allocate") as told:
        a.step(a)()
    assert "lower batch_size of the stage" in str(told.value) and "\n" not in str(told.value)


def test_collecting_gets_every_folder_with_the_cases_of_its_own_records(handed, monkeypatch):
    emptied = []
    monkeypatch.setattr(corrections, "set_aside", lambda *given: emptied.append(given))
    seen = handed(
        *(collect, "collect_segmentations", "--checked", "a=1.json", "b=2.json", "a=3.json"),
        *("--segmentations", "b=two", "a=one"),
    )
    assert seen["given"] == (
        {Path("one"): [Path("1.json"), Path("3.json")], Path("two"): [Path("2.json")]},
        Path("out"),
    )
    assert emptied == [(Path("out"), [Path("one"), Path("two")], Path("corrected"))]


def test_cases_that_cannot_be_segmented_are_named(monkeypatch, caplog, tmp_path):
    records = {"fold0-000": {"a": 1}, "unlabelled-000": {"b": 2}}
    monkeypatch.setattr(checked, "read_checked", lambda path: records[path.stem])
    seen = []

    def check(*given):
        seen.append(given)
        return ["b/imaging.nii.gz: damaged"]

    monkeypatch.setattr(listing, "check_cases", check)
    a = parser().parse_args(
        [
            *("check_cases", "--data", "kits19", "--output", "usable.txt"),
            *("--checked", *(f"cases/{name}.json" for name in records)),
        ]
    )
    with caplog.at_level("WARNING", "renal"):
        a.step(a)()
    assert seen == [([1, 2], Path("kits19"), Path("usable.txt"))]
    assert caplog.messages == ["b/imaging.nii.gz: damaged: this case will not be segmented"]


def test_cases_in_which_no_kidney_was_found_are_named(monkeypatch, caplog):
    monkeypatch.setattr(case_files, "usable_with_files", lambda *_: [])
    monkeypatch.setattr(crop_roi, "crop_roi", lambda *_, **__: ["case_1", "case_4"])
    a = parser().parse_args(
        [
            *("crop_roi", "--files", "f.json", "--checked", "c.json", "--output", "out"),
            *("--prediction", "located", "--settings", REGION.model_dump_json()),
        ]
    )
    with caplog.at_level("WARNING", "renal"):
        a.step(a)()
    told = "nothing was found: its segmentation will be empty"
    assert caplog.messages == [f"case_1: {told}", f"case_4: {told}"]


def test_a_training_on_several_gpus_becomes_as_many_processes(monkeypatch):
    started = []
    monkeypatch.setattr(gpus, "claim_gpus", lambda count: 3)
    monkeypatch.setattr(launch, "start_processes", started.append)
    training = load_method("resvnet", {}).stages["whole"].training
    for count in (1, 2):
        settings = training.model_copy(update={"gpus": count}).model_dump_json()
        a = parser().parse_args(
            [
                *("train", "--prepared", "one", "--settings", settings, "--output", "out"),
                *("--seed", "7", "--name", "tiny"),
            ]
        )
        a.step(a)
    assert started == [2]


@pytest.mark.parametrize("step", ["train", "predict"])
def test_a_gpu_that_torch_cannot_use_ends_a_step(monkeypatch, tmp_path, step):
    """Before its work begins, in a line that says why and what to install."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(torch.version, "cuda", None)
    stage = load_method("resvnet", {}).stages["whole"]
    given = {
        "train": (stage.training, ["--seed", "7", "--name", "tiny"]),
        "predict": (prediction(stage), ["--models", "model.safetensors"]),
    }
    settings, options = given[step]
    arguments = [step, "--prepared", "one", "--output", "out", "--settings"]
    a = parser().parse_args([*arguments, settings.model_dump_json(), *options])
    with pytest.raises(InputError, match="a build for the CPU alone: install another build"):
        a.step(a)


def test_settings_that_do_not_fit_are_told_in_one_line():
    a = parser().parse_args(
        [
            *("resample", "--files", "f.json", "--checked", "c.json", "--output", "out"),
            *("--settings", '{"size": [1, 2]}'),
        ]
    )
    with pytest.raises(InputError, match=r"--settings: .*size") as error:
        prepared(a)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("module", sorted({step.__module__ for step in STEPS}))
def test_what_steps_import_when_they_are_called_is_there(module):
    source = inspect.getsource(importlib.import_module(module))
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module)
        assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


# -- the scheme of labels: a default would be silent ---------------------------------------------


def test_rules_tell_steps_of_the_scheme():
    takes = {step.__name__ for step, told in STEPS.items() if "--labels" in told}
    text = "".join(
        path.read_text() for path in sorted((PACKAGE.parents[1] / "rules").glob("*.smk"))
    )
    told, not_told = set(), set()
    for rule in re.split(r"(?m)^ *rule (?=\w+:)", text)[1:]:
        name, command = rule.partition(":")[0], re.search(r"renal (\w+) ", rule)
        if command and command[1] in takes:
            (told if "{params.labels:q}" in rule else not_told).add(name)
    assert not_told == {"crop_roi"}  # which cuts no labels where a stage found the regions
    assert told >= takes - {"phantom", "crop_roi"}


@pytest.mark.parametrize(
    "work",
    [
        "data.validation.validate",
        "prepare.resample.resample",
        "prepare.crop_roi.crop_roi",
        "evaluate.merge.merge",
        "evaluate.average.average",
        "evaluate.vote.vote",
        "evaluate.external.import_segmentations",
        "evaluate.evaluation.evaluate",
    ],
)
def test_what_most_steps_take_is_taken(work):
    """Steps hand these over in a dictionary, into which no type checker looks."""
    module, _, name = work.rpartition(".")
    work = getattr(importlib.import_module(f"renal.{module}"), name)
    parameters = inspect.signature(work).parameters
    assert {"labels", "threads"} <= parameters.keys()
