"""The steps: what each hands on to the function that does its work."""

import ast
import importlib
import inspect
import json
import math
import re
from pathlib import Path

import pytest

from renal.__main__ import STEPS, parser, prepared
from renal.errors import InputError
from renal.evaluate import collect, corrections, evaluation, merge
from renal.evaluate.settings import Merging
from renal.handover import checked
from renal.handover.predictions import native_mask_of
from renal.labels import KITS19
from renal.learn import training
from renal.learn.collapse import end_if_collapsed
from renal.learn.memory import GpuMemory
from renal.learn.pretrained import load_pretrained
from renal.learn.results import write_results
from renal.prepare import crop_roi
from renal.prepare.settings import RegionCrop
from renal.recipe import load_method
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
            seen.update(keywords, given=given)
            return []

        monkeypatch.setattr(module, name, work)
        monkeypatch.setattr(
            checked, "usable", lambda paths, data=None: (data, paths) if data else paths
        )
        a = parser().parse_args([name, "--output", "out", *arguments])
        a.step(a)()
        return seen

    return run_step


def test_merging_gets_the_folders_of_each_stages_members(handed):
    folders = ["segment=one/segment", "segment=two/segment", "localize=three/localize"]
    seen = handed(
        *(merge, "merge", "--data", "kits19", "--checked", "c.json"),
        *("--predictions", *folders, "--settings", MERGING),
    )
    cases, predictions, settings, _ = seen["given"]
    assert cases == (Path("kits19"), [Path("c.json")])
    assert predictions == {
        "segment": [Path("one/segment"), Path("two/segment")],
        "localize": [Path("three/localize")],
    }
    assert settings == Merging.model_validate_json(MERGING)


def test_scoring_gets_the_truths_of_every_stage_and_of_the_grid(handed):
    stages = ("segment", "localize", "coarse")
    folders = [f"{stage}={stage[0]}/{batch}" for stage in stages for batch in range(2)]
    seen = handed(
        *(evaluation, "evaluate", "--data", "kits19", "--checked", "c.json"),
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
    options = ["--data", "kits19", "--checked", "c.json", "--settings", REGION.model_dump_json()]
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


def test_settings_that_do_not_fit_are_told_in_one_line():
    a = parser().parse_args(
        [
            *("resample", "--data", "kits19", "--checked", "c.json", "--output", "out"),
            *("--settings", '{"size": [1, 2]}'),
        ]
    )
    with pytest.raises(InputError, match=r"--settings: .*size") as error:
        prepared(a)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_what_a_step_imports_when_it_is_called_is_there(step):
    imports = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(step)))
        if isinstance(node, ast.ImportFrom)
    ]
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
