"""Planning by itself: which cases are where, and what each step is asked to read and write."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from corrupt import kind_of

from renal.errors import InputError
from renal.handover.case_files import read_files
from renal.learn.nnunet.memory import prediction_memory, training_memory
from renal.plan import Plan, named, read_plan
from renal.plan.stages import GPU_HOST_MB
from renal.recipe import METHODS, region_crop, sized
from renal.settings import settings_hash

ROOT = Path(__file__).resolve().parents[2]


def configuration(folder: Path, **changes) -> dict:
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values |= {"data": {"root": str(folder / "data"), "maximum_voxels": 10**9}, "batch_size": 2}
    return values | {"results": str(folder / "results"), **changes}


@pytest.fixture
def folder(tmp_path) -> Path:
    """12 labelled and 3 unlabelled cases whose files are empty."""
    for number in range(15):
        case = tmp_path / f"data/case_{number:05d}"
        case.mkdir(parents=True)
        (case / "imaging.nii.gz").touch()
        if number < 12:
            (case / "segmentation.nii.gz").touch()
    return tmp_path


@pytest.fixture
def plan(folder) -> Plan:
    return read_plan(configuration(folder, methods=["resvnet", "mrbnet", "tunet_ensemble_post"]))


def below(results: Path, paths: list[Path]) -> list[str]:
    """Paths within the results folder, without the digits of hashes."""
    parts = (path.relative_to(results).as_posix() for path in paths)
    return ["/".join(p.partition("-")[0] if "x" in p else p for p in s.split("/")) for s in parts]


def test_batches_and_groups(plan):
    assert len(plan.labelled) == 7
    assert plan.unlabelled == ["unlabelled-000", "unlabelled-001"]
    assert list(plan.groups) == [*(f"fold{f}" for f in range(5)), *plan.unlabelled]
    assert sorted(name for batch in plan.batches.values() for name in batch) == sorted(plan.cases)
    for fold in plan.held_out:
        assert plan.groups[fold] == [b for b in plan.labelled if b.startswith(f"{fold}-")]
        learned = plan.training_batches(fold)
        assert sorted([*learned, *plan.groups[fold]]) == plan.labelled


@pytest.mark.parametrize("grouped", [False, True])
def test_a_case_is_excluded_by_its_folders_name_and_keeps_its_fold(folder, grouped):
    for path in sorted((folder / "data").iterdir()):
        path.rename(path.with_name(f"pat {int(path.name[-5:])}"))
    (folder / "groups.csv").write_text("case,group\npat_1,P1\npat_4,P1\n")
    settings = configuration(folder)
    settings["data"]["groups"] = str(folder / "groups.csv") if grouped else None
    plan = read_plan(settings)
    plan.store()
    settings["data"]["exclude"] = ["pat 4"]
    assert {*plan.cases} - {*read_plan(settings).cases} == {"pat_4"}


def test_a_fold_is_not_taken_for_one_whose_number_begins_alike(folder):
    plan = read_plan(configuration(folder, folds={"count": 12, "seed": 1}))
    assert not [b for b in plan.training_batches("fold1") if b.startswith("fold1-")]
    assert {b.partition("-")[0] for b in plan.training_batches("fold1")} == {
        f"fold{fold}" for fold in range(12) if fold != 1
    }


def test_files_are_known_by_name_size_and_time_stamp(plan, folder):
    batch = plan.labelled[0]
    first, *_ = names = plan.batches[batch]
    stamps = plan.stamps(batch)
    files = [f"{name} {kind}" for name in names for kind in ("image", "label")]
    assert [stamp.rsplit(maxsplit=2)[0] for stamp in stamps] == files
    image = folder / "data" / first / "imaging.nii.gz"
    os.utime(image, ns=(0, 7))  # older than all that was made of it
    assert plan.stamps(batch) == [f"{files[0]} 0 7", *stamps[1:]]
    image.write_bytes(b"another")
    os.utime(image, ns=(0, 7))
    assert plan.stamps(batch) == [f"{files[0]} 7 7", *stamps[1:]]
    image.unlink()
    assert plan.stamps(batch) == stamps[1:]


def test_files_that_are_not_packed_may_agree_in_size_and_time(folder):
    """As the labels of two readers, unpacked from one archive."""
    table = "image,label\n1.nii.gz,one.nii\n2.nii.gz,one.nii\n"
    (folder / "data/cases.csv").write_text(table)
    for name in ("1.nii.gz", "2.nii.gz", "one.nii", "two.nii"):
        (folder / "data" / name).write_bytes(b"a label")
        os.utime(folder / "data" / name, ns=(7, 7))
    values = configuration(folder, folds={"count": 2, "seed": 1})
    values["data"]["layout"] = "table"
    before = read_plan(values)
    (folder / "data/cases.csv").write_text(table.replace("one", "two"))
    after = read_plan(values)
    assert all(before.stamps(batch) != after.stamps(batch) for batch in before.batches)


def test_a_data_folder_that_is_moved_leaves_the_stamps(plan, folder):
    before = {batch: plan.stamps(batch) for batch in plan.batches}
    (folder / "data").rename(folder / "elsewhere")
    moved = configuration(folder, data={"root": str(folder / "elsewhere"), "maximum_voxels": 10**9})
    (folder / "data").symlink_to(folder / "elsewhere")
    for there in (read_plan(moved), read_plan(configuration(folder))):
        assert {batch: there.stamps(batch) for batch in there.batches} == before


def test_outlines_of_labelled_cases_are_known(plan, folder):
    assert plan.outlines == [] and plan.annotators == []
    for case in ("case_00001", "case_00014"):  # the second is only to be segmented
        (folder / f"data/{case}/instances").mkdir()
        for number in (1, 2):
            name = f"kidney_instance-1_annotation-{number}.nii.gz"
            (folder / f"data/{case}/instances" / name).touch()
    outlined = read_plan(configuration(folder))
    assert outlined.annotators == [plan.results / "annotators.csv"]
    found = [text.rsplit(maxsplit=2)[0] for text in outlined.outlines]
    names = [f"kidney_instance-1_annotation-{number}.nii.gz" for number in (1, 2)]
    assert found == [f"case_00001 {name}" for name in names]


def test_what_is_listed_of_the_cases_is_known(plan, folder):
    assert plan.listed == "{}"
    listed = [{"case_id": "case_00000", "voxel_spacing": {"z_spacing": 3}}]
    (folder / "data/kits.json").write_text(json.dumps(listed))
    assert json.loads(read_plan(configuration(folder)).listed) == {"case_00000": {"z_spacing": 3}}


def test_another_batch_size_moves_no_case_that_was_dealt(plan, folder):
    plan.store()
    assert read_plan(configuration(folder, batch_size=5)).batches == plan.batches
    assert read_plan(configuration(folder, batch_size=1)).batches == plan.batches


def test_stored_folds_are_those_of_the_next_plan(plan, folder):
    before = dict(plan.batches)
    plan.store()
    case = folder / "data/case_90000"
    case.mkdir()
    (case / "imaging.nii.gz").touch()
    (case / "segmentation.nii.gz").touch()
    after = read_plan(configuration(folder)).batches
    for batch, names in before.items():
        assert [name for name in after[batch] if name != case.name] == names


def test_a_stage_learns_from_true_and_predicts_on_found_regions(plan):
    results = plan.results
    learned = plan.true_inputs("resvnet", "tumour", ["fold0-000"])
    assert below(results, learned) == ["true_roi/48x96x96/fold0-000"]
    seen = plan.seen_inputs("resvnet", "tumour", "fold0")
    assert below(results, seen) == ["resvnet/whole/roi/48x96x96/fold0"]
    whole = plan.seen_inputs("resvnet", "whole", "fold0")
    assert whole == plan.true_inputs("resvnet", "whole", plan.groups["fold0"])
    assert all(path.parts[-4] == "normalized" for path in whole)


def test_a_held_out_case_is_predicted_by_the_model_that_has_not_seen_it(plan):
    results = plan.results
    assert plan.models_for("resvnet", "whole", "fold3") == [
        results / "resvnet/whole/fold3/model.safetensors"
    ]
    folds = plan.models_for("resvnet", "whole", "unlabelled-000")
    assert folds == [plan.model("resvnet", "whole", fold) for fold in plan.held_out]


def test_an_ensembles_predictions_are_its_members(plan):
    folders = plan.merged_predictions("tunet_ensemble_post", "fold1")
    assert {stage: len(paths) for stage, paths in folders.items()} == {"segment": 4, "localize": 1}
    owners = {path.parts[-4] for path in folders["segment"]}
    assert owners == {"tunet", "tunet_median", "tunet_seb", "tunet_seb_median"}
    assert named(folders)[:1] == [f"segment={folders['segment'][0]}"]
    assert len(named(folders)) == 5


def test_the_truth_is_asked_for_on_every_grid_that_is_merged_and_on_the_methods_own(plan):
    truths = plan.evaluated_truths("mrbnet", "fold0")
    assert list(truths) == ["segment", "zrange"]
    for folders in truths.values():
        assert [path.name for path in folders] == plan.groups["fold0"]


def test_what_is_merged_is_asked_for_where_all_of_it_lies_on_one_grid(folder):
    plan = read_plan(configuration(folder, methods=["resvnet", "tunet"]))
    assert plan.evaluated_predictions("resvnet", "fold0") == {}
    (paths,) = plan.evaluated_predictions("tunet", "fold0").values()
    assert paths == [plan.results / "tunet/segment/prediction/fold0"]


def test_located_predictions_are_of_the_stage_that_looks_at_regions_without_a_mask(plan):
    assert plan.located_predictions("resvnet", "fold0") == []
    (path,) = plan.located_predictions("mrbnet", "fold0")
    assert path == plan.results / "mrbnet/segment/prediction/fold0"


def test_paths_name_grids_and_change_with_their_settings(plan):
    assert len(plan.grids) == len({sized(g) for g in plan.grids.values()})
    for name, geometry in plan.grids.items():
        assert name == sized(geometry)
        assert (geometry.body is None) == (plan.body_boxes(name, "fold0-000") == [])
    assert len(plan.bodies) == 1
    # True and predicted regions differ by their jitter alone, and mrbnet has some.
    assert {name.partition("-")[0] for name in plan.regions} >= {"48x96x96"}


def test_results_of_a_method(plan):
    folder = plan.results / "resvnet"
    assert plan.results_of("resvnet") == [
        folder / "scores.csv",
        folder / "segmentation/.seal.json",
        folder / "submission",
        *(folder / f"pictures/{name}.png" for name in ("best", "median", "worst")),
        folder / "pictures/curves_whole.png",
        folder / "pictures/curves_tumour.png",
    ]
    assert plan.methods_of("all") == list(plan.methods)
    assert plan.methods_of("resvnet") == ["resvnet"]
    assert plan.pictures_of("mrbnet")[-1].name == "located.png"


def test_the_page_has_the_pictures_that_its_slices_do_not_show(plan, folder):
    pages, pictures = plan.page, plan.page_pictures
    assert below(plan.results, pages) == ["report/index.html"] and len(plan.methods) > 1
    assert pictures[: len(plan.drawn)] == [*plan.drawn.values()]
    assert pictures[len(plan.drawn)] == plan.gallery[0]
    names = {path.stem for path in pictures}
    assert {"curves_whole", "located"} <= names and not {"best", "median", "worst"} & names
    seals = [f"{method}/segmentation/.seal.json" for method in plan.methods]
    assert [path.relative_to(plan.results).as_posix() for path in plan.collected] == seals
    drawn = {*plan.drawn.values(), *plan.gallery}
    assert {*pages, *plan.tables, *plan.compared, *drawn} == {*plan.results_of_all}
    alone = read_plan(configuration(folder, methods=["resvnet"]))
    assert alone.gallery == [] and alone.page == pages
    assert [path.stem for path in alone.page_pictures] == ["curves_whole", "curves_tumour"]


def test_logs_and_benchmarks_are_named_after_their_rules_jobs(plan):
    assert plan.log_of("train", "resvnet", "whole.pth") == (
        plan.results / "logs/train/resvnet-whole.pth.log"
    )
    assert plan.benchmark_of("compare") == plan.results / "benchmarks/compare/compare.tsv"


def test_without_unlabelled_cases_there_is_no_submission(folder):
    for number in range(12, 15):
        (folder / f"data/case_{number:05d}/imaging.nii.gz").unlink()
        (folder / f"data/case_{number:05d}").rmdir()
    plan = read_plan(configuration(folder))
    assert [path.name for path in plan.segmentations_of("resvnet")] == [".seal.json"]


def test_weights_are_asked_for_where_a_network_begins_with_some(folder):
    plan = read_plan(configuration(folder, methods=["damnet"]))
    (file,) = plan.pretrained
    assert plan.weights_of("damnet", "fine") == [Path(file)]
    assert plan.weights_of("damnet", "coarse") == []


def test_everything_can_be_asked_of_every_method(folder):
    methods = sorted(path.stem for path in METHODS.glob("*.yaml"))
    values = configuration(folder, methods=methods)
    values["data"]["labels"] = "kits23"  # has the regions of all recipes
    plan = read_plan(values)
    assert {grid for grid, _ in plan.images} == set(plan.grids)
    assert plan.checked(["fold0-000"]) == [plan.results / "cases/fold0-000.json"]
    assert [path.suffix for path in plan.tables] == [".csv", ".md", ".tex", ".html"]
    assert list(plan.rows) == methods
    for method, recipe in plan.recipes.items():
        assert plan.merging(method).family == plan.rows[method]["family"] == recipe.family
        assert plan.code("merge", method) != plan.code("evaluate", method)
        for stage, settings in recipe.stages.items():
            told = json.loads(plan.prediction_settings(method, stage))
            assert told["network"]["name"] == settings.training.network.name
            assert plan.training_memory(method, stage, 1, on_gpu=False) > 1500
            for group in plan.groups:
                assert plan.prediction_memory(method, stage, group, 1, on_gpu=False) > 1500
                assert plan.seen_inputs(method, stage, group)


def test_a_stage_on_whole_volumes_has_no_regions_to_cut(plan):
    with pytest.raises(ValueError, match="stage whole of resvnet looks at whole volumes"):
        region_crop(plan.recipes, "resvnet", "whole")


# -- memory ---------------------------------------------------------------------------------------


def test_memory_by_hand(plan, folder):
    batch = plan.labelled[0]
    name = plan.batches[batch][0]
    (folder / "data" / name / "imaging.nii.gz").write_bytes(bytes(3 * 2**20))
    assert plan.volume_memory([batch], 2, 1) == 300 + 2 * (200 + 7 * 3)
    assert plan.volume_memory([batch], 2, 2) == 2 * (300 + 2 * (200 + 7 * 3))
    stage = plan.recipes["resvnet"].stages["whole"]
    network = stage.training.network
    voxels = 128 * 160 * 160
    activations = 1.5 * network.kilobytes * voxels * 2 / 1000
    assert network.activations((128, 160, 160), 2) == pytest.approx(activations)
    told = plan.training_memory("resvnet", "whole", 1, on_gpu=False)
    assert told == int(1500 + activations)
    arrays = plan.volume_memory(plan.groups["fold0"], 1, 1)
    told = plan.prediction_memory("resvnet", "whole", "fold0", 1, on_gpu=False)
    assert told == int(1500 + activations / 2 / 2 + arrays)


def test_beside_a_gpu_no_memory_is_asked_for_activations(plan):
    """But for CUDA's libraries in each process, and when predicting for the volume's arrays."""
    stages = plan.recipes["resvnet"].stages
    arrays = plan.volume_memory(plan.groups["fold0"], 1, 1)
    for name in stages:
        assert plan.training_memory("resvnet", name, 1, on_gpu=True) == GPU_HOST_MB
        told = plan.prediction_memory("resvnet", name, "fold0", 2, on_gpu=True)
        assert told == 2 * (GPU_HOST_MB + arrays)
    shared = stages["whole"].training.model_copy(update={"gpus": 2})
    stages["whole"] = stages["whole"].model_copy(update={"training": shared})
    assert plan.training_memory("resvnet", "whole", 1, on_gpu=True) == 2 * GPU_HOST_MB


def test_networks_on_slices_take_memory_for_the_slices_that_they_see_at_once(plan):
    stage = plan.recipes["mrbnet"].stages["locate"]
    assert stage.training.network.flat
    one = stage.training.network.activations((None, 256, 256), 1)
    assert one == pytest.approx(1.5 * stage.training.network.kilobytes * 256 * 256 / 1000)
    arrays = plan.volume_memory(plan.groups["fold0"], 1, 1)
    at_once = stage.inference.at_once
    assert at_once > 1
    told = plan.prediction_memory("mrbnet", "locate", "fold0", 1, on_gpu=False)
    assert told == int(1500 + at_once * one / 2 + arrays)


# -- a machine without data -----------------------------------------------------------------------


def test_cases_stand_in_where_there_is_no_data(tmp_path):
    plan = read_plan(configuration(tmp_path), stand_in=True)
    assert len(plan.labelled) == 5
    assert plan.unlabelled == ["unlabelled-000"]
    assert plan.stamps("fold0-000") == []
    with pytest.raises(InputError, match="no such folder"):
        read_plan(configuration(tmp_path))


def test_cases_do_not_stand_in_for_those_that_there_are(folder):
    assert len(read_plan(configuration(folder), stand_in=True).cases) == 15


def test_no_test_case_reaches_a_training(folder):
    """What a training is given lies under its batches alone, and those hold no test case."""
    data = {"root": str(folder / "data"), "maximum_voxels": 10**9, "test": ["3-5"]}
    methods = ["resvnet", "mrbnet", "damnet", "msvnet", "tunet_ensemble_post"]
    plan = read_plan(configuration(folder, data=data, methods=methods))
    tests = {"case_00003", "case_00004", "case_00005"}
    assert {n for batch in plan.tested for n in plan.batches[batch]} == tests
    assert plan.tested == ["test-000", "test-001"] and not set(plan.tested) & set(plan.labelled)
    for name, recipe in plan.recipes.items():
        for stage in recipe.stages:
            for fold in plan.held_out:
                learned = plan.training_batches(fold)
                assert not {n for batch in learned for n in plan.batches[batch]} & tests
                inputs = plan.true_inputs(name, stage, learned)
                assert {path.name for path in inputs} == set(learned)
        for batch in plan.tested:
            for stage in recipe.stages:
                folds = [plan.model(name, stage, fold) for fold in plan.held_out]
                assert plan.models_for(name, stage, batch) == folds
    assert plan.unlabelled == ["unlabelled-000", "unlabelled-001"]
    assert plan.results_of("resvnet")[1] == plan.test_scores_of("resvnet")


def test_steps_are_told_where_the_files_of_every_case_lie(plan):
    plan.store()
    listed = read_files(plan.files, plan.cases)
    assert listed == {name: (case.image, case.label) for name, case in plan.cases.items()}
    assert kind_of(plan.files) == "list of files"  # so benchmarks/corrupt.py damages it, too


def test_tables_are_told_how_many_of_their_own_cases_another_program_left_out(folder):
    external = {"folder": str(folder / "elsewhere"), "missing": "empty"}
    values = configuration(
        folder,
        methods=["nnunet_segmentations"],
        overrides={"nnunet_segmentations": {"external": external}},
    )
    values["data"] |= {"test": ["case_00000", "case_00001"]}
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/case_00000.nii.gz").touch()
    plan = read_plan(values)
    labelled = sum(len(plan.batches[batch]) for batch in plan.labelled)
    assert plan.rows["nnunet_segmentations"]["missing"] == labelled
    assert plan.tested_rows["nnunet_segmentations"]["missing"] == 1


def test_rows_of_other_rows_and_of_other_programs_are_asked_for_by_their_files(folder):
    methods = ["ensemble_average", "nnunet", "nnunet_segmentations"]
    elsewhere = {"nnunet_segmentations": {"external": {"folder": str(folder / "elsewhere")}}}
    plan = read_plan(configuration(folder, methods=methods, overrides=elsewhere))
    results = plan.results
    assert plan.rows_with("nnunet", "external") == "nnunet|nnunet_segmentations"
    assert plan.rows_with("average").split("|") == ["ensemble_average"]
    assert {"stages", "merge"} < plan.recipes["resvnet"].sections
    assert not {"stages", "merge", "average"} & plan.recipes["nnunet"].sections
    alone = read_plan(configuration(folder, methods=["resvnet"]))
    assert re.fullmatch(alone.rows_with("average", "vote"), "resvnet") is None
    averaged = plan.averaged("ensemble_average", "fold0")
    assert averaged == {
        f"{row}.{stage}": paths
        for row in plan.recipes["ensemble_average"].rows
        for stage, paths in plan.merged_predictions(row, "fold0").items()
    }
    assert plan.external_inputs("nnunet", "fold0") == [results / "nnunet/nnunet/prediction/fold0"]
    cases = plan.batches["unlabelled-000"]
    (folder / "elsewhere").mkdir()
    there = [folder / f"elsewhere/{name}.nii.gz" for name in cases]
    there[0].touch()
    assert plan.external_inputs("nnunet_segmentations", "unlabelled-000") == there[:1]
    planned = plan.nnunet_plans("nnunet")
    planning = plan.recipes["nnunet"].nnunet.planning
    assert plan.nnunet_plannings == {settings_hash(planning): planning}
    asked = planning, plan.labels, 4, 2
    assert plan.nnunet_training_memory("nnunet", 4, 2) == training_memory(*asked)
    assert plan.nnunet_prediction_memory("nnunet", 4, 2) == prediction_memory(*asked)
    assert planned.name == "nnUNetPlans.json"
    assert planned.parent == plan.nnunet_cases("nnunet").parent
    assert below(results, [planned.parent])[0].startswith("planned/")
    assert planned.parents[1].name == "nnUNet_preprocessed"
    assert [path.name for path in plan.test_tables] == ["test.csv", "test.md", "test.html"]
    assert len(plan.compared) > 1 and len(plan.drawn) > 1
    assert (alone.compared, alone.drawn) == ([], {})
