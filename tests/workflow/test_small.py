"""Small runs on the phantom: what bad input does, and what faults leave behind."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import psutil
import pytest

from renal.handover.seals import SEAL

from .conftest import results


def images_of(project) -> dict[str, str]:
    """What steps take for the image of each case."""
    files = json.loads((results(project) / "files.json").read_text())
    return {name: image for name, (image, _) in files.items()}


# -- bad input ------------------------------------------------------------------------------------


def test_all_bad_cases_are_listed_at_once(fresh):
    data = results(fresh) / "data"
    (data / "case_00000/imaging.nii.gz").write_bytes(b"not an image")
    label = nib.load(data / "case_00001/segmentation.nii.gz")
    empty = np.zeros(label.shape, np.uint8)
    nib.save(nib.Nifti1Image(empty, label.affine), data / "case_00001/segmentation.nii.gz")
    run = fresh.snakemake()
    assert run.returncode == 1
    output = run.stdout + run.stderr
    assert "case_00000/imaging.nii.gz" in output
    assert "case_00001/segmentation.nii.gz: empty label" in output
    assert "2 of 5 cases cannot be used" in output
    listed = pd.read_csv(results(fresh) / "cases.csv").set_index("case")
    assert listed["usable"].to_dict() == {f"case_{number:05d}": number > 1 for number in range(5)}
    assert "empty label" in listed["remark"]["case_00001"]
    assert "Traceback" not in output
    # Nothing was learned from the good ones either, though one may have been prepared beside the
    # last check, and nothing half-written is left (Snakemake marks folders with a hidden file, and
    # what is whole has a seal).
    left = {path.name for path in results(fresh).iterdir() if not path.name.endswith(SEAL)}
    prepared = {"body", "resampled", "normalized", "true_roi"}
    assert left <= {
        "data",
        "cases",
        "cases.csv",
        "files.json",
        "folds.csv",
        "logs",
        "benchmarks",
        "report",
        *prepared,
    }
    hidden = {path.name for path in results(fresh).rglob(".*") if not path.name.endswith(SEAL)}
    assert hidden <= {".snakemake_timestamp"}


def test_bad_unlabelled_case_is_named_and_the_others_are_kept(first_run):
    """In a run from nothing."""
    assert first_run.ended.returncode == 1
    assert "case_00005/imaging.nii.gz" in first_run.ended.stderr
    assert "cases that were not segmented: 1" in first_run.ended.stderr
    assert "resvnet/segmentation/case_00004.nii.gz" in first_run.left
    assert "resvnet/segmentation/case_00005.nii.gz" not in first_run.left
    assert "tables/cv.csv" in first_run.left
    assert "segmented/all.txt" not in first_run.left


def test_after_a_bad_case_is_taken_away_the_run_ends_well(small):
    assert (results(small) / "segmented/all.txt").read_text() == "all 5 cases were segmented\n"
    assert small.plan() == {}


@pytest.mark.parametrize(
    ("lost", "rule"),
    {
        "cases.csv": "list_cases",
        "resvnet/scores.csv": "collect_scores",
        "resvnet/segmentation": "collect_segmentations",
        "resvnet/submission": "write_submission",
        "resvnet/pictures": "draw_overlays",
    }.items(),
)
def test_a_result_that_was_deleted_is_made_again(ended, lost, rule):
    path = results(ended) / lost
    path.rename(path.with_name("aside"))
    plan = ended.plan()
    assert plan[rule] == 1 and "train" not in plan and "predict" not in plan


def test_method_with_bad_unlabelled_cases_alone_ends_with_their_list(ended):
    """A whole batch of bad cases, a method asked for by name: the engineer's first try."""
    (results(ended) / "data/case_00004/imaging.nii.gz").write_bytes(b"not an image")
    # All but preparation and models is made again.
    shutil.rmtree(results(ended) / "segmented")
    for path in ("whole/prediction", "tumour/prediction", "merged", "scores", "segmentation"):
        shutil.rmtree(results(ended) / "resvnet" / path)
    (results(ended) / "resvnet/scores.csv").unlink()
    run = ended.snakemake("resvnet")
    assert run.returncode == 1
    assert "case_00004/imaging.nii.gz" in run.stderr
    assert "cases that were not segmented: 1" in run.stderr
    assert (results(ended) / "resvnet/scores.csv").exists()


def test_data_without_unlabelled_cases_and_with_an_excluded_one(ended):
    shutil.rmtree(results(ended) / "data/case_00004")
    for path in ("segmented", "resvnet/submission", "resvnet/segmentation"):
        shutil.rmtree(results(ended) / path)
    ended.configure({"data": {"exclude": ["case_00003"]}})
    run = ended.snakemake()
    assert run.returncode == 0, run.stderr[-3000:]
    assert (results(ended) / "segmented/all.txt").read_text() == "all 3 cases were segmented\n"
    assert not (results(ended) / "resvnet/submission").exists()


def test_second_run_in_the_same_folder_is_told_so(fresh):
    # In the middle of a step, whose folder is there already.
    end = '    write_json(folder / "cases.json"'
    fresh.edit_code(end, f"    import time\n\n    time.sleep(300)\n{end}")
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "1"],
        cwd=fresh.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(results(fresh).rglob("*.npy")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = fresh.snakemake()
    finally:
        for process in [*psutil.Process(first.pid).children(recursive=True), first]:
            process.kill()
        first.wait()
    assert second.returncode == 1
    assert "--unlock" in second.stderr


def test_a_correction_outlives_a_new_case(ended):
    """Saved where a radiologist would save it, before another CT is added."""
    folder = results(ended) / "resvnet"
    predicted = folder / "segmentation/case_00004.nii.gz"
    before = predicted.read_bytes()
    image = nib.load(predicted)
    label = np.asarray(image.dataobj).copy()
    label[:8, :8, :8] = 2
    nib.save(nib.Nifti1Image(label, image.affine), predicted)
    corrected = predicted.read_bytes()
    data = results(ended) / "data"
    shutil.copytree(data / "case_00004", data / "case_00006")
    run = ended.snakemake("resvnet")
    assert run.returncode == 0, run.stderr[-3000:]
    assert (folder / "corrected/case_00004.nii.gz").read_bytes() == corrected
    assert "case_00004.nii.gz: changed by hand" in run.stderr
    assert predicted.read_bytes() == before
    assert (folder / "segmentation/case_00006.nii.gz").exists()
    assert ended.plan("resvnet") == {}


def test_a_packed_row_gives_the_bytes_of_the_workflow(small, tmp_path):
    package, case = tmp_path / "resvnet.renal", "case_00004"
    export = ["export", "resvnet", "--configfile", "run.yaml", "--to", str(package)]
    image = str(results(small) / "data" / case / "imaging.nii.gz")
    segment = ["segment", image, "--model", str(package), "--to", str(tmp_path), "--threads", "1"]
    for arguments in (export, segment):
        run = subprocess.run(
            [sys.executable, "-m", "renal", *arguments],
            cwd=small.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    expected = results(small) / f"resvnet/segmentation/{case}.nii.gz"
    assert (tmp_path / "imaging.nii.gz").read_bytes() == expected.read_bytes()


# -- tests and layouts ----------------------------------------------------------------------------


def test_a_test_case_is_scored_by_models_that_have_not_seen_it(ended):
    """A test that is added to a finished run trains nothing."""
    folder = results(ended)
    models = sorted(folder.glob("resvnet/*/fold*/model.safetensors"))
    before = [path.read_bytes() for path in models]
    shutil.copytree(folder / "data/case_00001", folder / "data/case_00005")
    ended.configure({"data": {"test": [5]}})
    assert "train" not in ended.plan()
    run = ended.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert [path.read_bytes() for path in models] == before
    for path in folder.glob("resvnet/*/fold*/run.json"):
        assert "case_00005" not in json.loads(path.read_text())["cases"]
    scores = pd.read_csv(folder / "resvnet/test_scores.csv")
    assert set(scores["case"]) == {"case_00005"} and scores["fold"].isna().all()
    assert "case_00005" not in set(pd.read_csv(folder / "resvnet/scores.csv")["case"])
    listed = pd.read_csv(folder / "cases.csv").set_index("case")
    assert listed.loc["case_00005", "batch"] == "test-000"
    assert "one is learned from, and the other is a test" in listed.loc["case_00005", "remark"]
    table = pd.read_csv(folder / "tables/test.csv").set_index(["grid", "metric"])
    expected = scores.set_index("grid").loc["native", "kidney_dice"]
    assert table.loc[("native", "kidney_dice"), "mean"] == pytest.approx(expected, abs=1e-6)
    assert (folder / "resvnet/segmentation/case_00005.nii.gz").exists()
    assert ended.plan() == {}


def test_raw_data_of_nnunet_are_read(fresh):
    """By name of case, with a test in labelsTs, and a CT of another folder to be segmented."""
    kits, raw = results(fresh) / "data", fresh.folder / "raw"
    places = ["Tr/mine 0", "Tr/mine 1", "Ts/mine 2", "Tr/mine 3"]
    for number, place in enumerate(places):
        part, _, name = place.partition("/")
        case = kits / f"case_{number:05d}"
        for kind, file in (
            ("images", f"{name}_0000.nii.gz"),
            ("labels", f"{name}.nii.gz"),
        ):
            (raw / f"{kind}{part}").mkdir(parents=True, exist_ok=True)
            source = "imaging" if kind == "images" else "segmentation"
            (raw / f"{kind}{part}" / file).symlink_to(case / f"{source}.nii.gz")
    other = fresh.folder / "other"
    other.mkdir()
    (other / "7.nii.gz").symlink_to(kits / "case_00004/imaging.nii.gz")
    fresh.configure({"data": {"root": "raw", "unlabelled": "other"}})
    run = fresh.snakemake("results/demo/cases.csv")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    listed = pd.read_csv(results(fresh) / "cases.csv").set_index("case")
    assert listed["usable"].all()
    assert images_of(fresh) == {
        "case_7": "other/7.nii.gz",
        "mine_0": "raw/imagesTr/mine 0_0000.nii.gz",
        "mine_1": "raw/imagesTr/mine 1_0000.nii.gz",
        "mine_2": "raw/imagesTs/mine 2_0000.nii.gz",
        "mine_3": "raw/imagesTr/mine 3_0000.nii.gz",
    }
    assert listed["batch"]["mine_2"] == "test-000" and listed["batch"]["case_7"] == "unlabelled-000"


def test_a_table_with_groups_and_a_file_of_tests_is_read(fresh):
    """A folder that is laid out as KiTS19, too: the configuration says which of the two counts."""
    data = results(fresh) / "data"
    scans = [f"case_{number:05d}/imaging.nii.gz" for number in range(4)]
    names = ["first", "second", "first again", "tried"]
    rows = [
        f"{scan},{scan.replace('imaging', 'segmentation')},{name}"
        for scan, name in zip(scans, names, strict=True)
    ]
    (data / "cases.csv").write_text("\n".join(["image,label,case", *rows, ""]))
    (fresh.folder / "groups.csv").write_text("case,group\nfirst,a\nfirst_again,a\n")
    (fresh.folder / "tests.txt").write_text("tried\n")
    fresh.configure({"data": {"groups": "groups.csv", "test": "tests.txt"}})
    run = fresh.snakemake("--dry-run")
    assert run.returncode == 1 and "name one as data.layout" in run.stderr
    fresh.configure({"data": {"layout": "table"}})
    run = fresh.snakemake("results/demo/cases.csv")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    listed = pd.read_csv(results(fresh) / "cases.csv").set_index("case")
    taken = [f"results/demo/data/{scan}" for scan in scans]
    assert images_of(fresh) == dict(
        zip(["first", "second", "first_again", "tried"], taken, strict=True)
    )
    fold = listed["fold"]
    assert fold["first"] == fold["first_again"] != fold["second"] and fold["tried"] == "test"
    assert listed["batch"]["tried"] == "test-000"
    planned = fresh.planned("results/demo/resvnet/whole/fold0/model.safetensors")
    assert "test-000" not in planned.text and planned.trainings == {("resvnet", "whole", 0)}


# -- faults ---------------------------------------------------------------------------------------


def checksums(project) -> dict[str, str]:
    """Of everything that must not depend on how often a run was interrupted."""
    folder = results(project)
    patterns = ("resvnet/*/fold*/model.safetensors", "resvnet/segmentation/*.nii.gz", "tables/cv.*")
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    assert len(paths) == 4 + 5 + 4
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def test_killed_and_started_again_ends_with_the_same_bytes(small, ended):
    """From the prepared cases on."""
    for path in ("resvnet", "tables", "segmented", "logs"):
        shutil.rmtree(results(ended) / path)
    ended.store_a_state_after_every_epoch()
    # No training ends before its kill comes.
    ended.edit_code("progress.epoch += 1\n", "progress.epoch += 1; time.sleep(0.2)\n")
    command = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2"]
    moments = ("*/fold*/state.pt", "*/fold*/model.safetensors", "whole/prediction/*/*.npz")
    for moment in moments:
        # A session of its own, so that the kill reaches the jobs as well.
        run = subprocess.Popen(
            command,
            cwd=ended.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while not list(results(ended).glob(f"resvnet/{moment}")):
            assert time.monotonic() < deadline, f"{moment} was not seen"
            time.sleep(0.05)
        _kill_session(run)
        assert list(results(ended).glob(f"resvnet/{moment}"))
        assert ended.snakemake("--unlock").returncode == 0
    last = ended.snakemake()
    assert last.returncode == 0, last.stderr[-2000:]
    logs = [path.read_text() for path in results(ended).glob("logs/train/*.log")]
    assert any("going on after epoch" in log for log in logs)
    assert checksums(ended) == checksums(small)


@pytest.mark.parametrize(
    ("damaged", "again"),
    [
        ("resvnet/scores/fold0.csv", "resvnet/scores.csv"),
        ("resvnet/tumour/fold1/model.safetensors", "resvnet/tumour/prediction/fold1"),
        ("normalized/*/*/fold0-000/case_*.0.image.npy", "resvnet/whole/prediction/fold0"),
        ("resvnet/whole/prediction/fold0/cases.json", "resvnet/merged/fold0"),
        ("cases/fold0-000.json", "resvnet/merged/fold0"),
    ],
)
def test_a_bit_that_changed_between_steps_is_told(ended, damaged, again):
    path = min(results(ended).glob(damaged))
    content = path.read_bytes()
    middle = len(content) // 2
    kept = os.stat(path)
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    target = results(ended) / again
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    run = ended.snakemake(str(target.relative_to(ended.folder)))
    assert run.returncode == 1
    told = f"error: {path.relative_to(ended.folder)}: damaged or changed since it was written"
    assert told in run.stderr
    assert "Traceback" not in run.stderr and not target.exists()


def _kill_session(process):
    """Kill snakemake and its jobs, whatever process groups they are in."""
    subprocess.run(["pkill", "-9", "--session", str(process.pid)], check=True)
    process.wait(30)
