"""What counts is the content of the data: where it lies, its age and its names do not."""

import hashlib
import os
import shutil

from .conftest import results


def data_of(project):
    return results(project) / "data"


def swap(first, second):
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def bytes_of(project):
    folder = results(project)
    paths = [*folder.glob("resvnet/*/fold*/model.safetensors"), *folder.glob("cases/[!.]*.json")]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# -- other content ---------------------------------------------------------------------------------


def test_older_files_with_other_content_are_looked_at(ended):
    """As cp -p, rsync -a and unzip leave them."""
    image = data_of(ended) / "case_00000/imaging.nii.gz"
    image.write_bytes((data_of(ended) / "case_00001/imaging.nii.gz").read_bytes())
    os.utime(image, ns=(0, 0))
    plan = ended.plan()
    assert plan["validate"] == 1 and plan["train"] > 0


def test_cases_that_change_their_places_are_looked_at(ended):
    swap(data_of(ended) / "case_00000", data_of(ended) / "case_00001")
    plan = ended.plan()
    assert plan["validate"] >= 1 and plan["train"] > 0


def test_a_run_that_is_refused_beside_another_leads_it_to_no_other_files(ended, tmp_path_factory):
    listed = results(ended) / "files.json"
    before = listed.read_bytes()
    other = tmp_path_factory.mktemp("other") / "data"
    shutil.copytree(data_of(ended), other)
    ended.configure({"data": {"root": str(other)}})
    locks = ended.folder / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("results/demo/cases/fold0-000.json\n")
    of_tests = results(ended) / "resvnet/test_scores.csv"
    of_tests.write_text("of a run that has tests\n")
    run = ended.snakemake("--forcerun", "validate")
    assert run.returncode == 1 and "LockException" in run.stderr
    assert listed.read_bytes() == before
    assert of_tests.exists()
    # A run of other results in the same folder is no hindrance.
    (locks / "0.output.lock").write_text("results/others/cases/fold0-000.json\n")
    run = ended.snakemake("results/demo/cases.csv")
    assert run.returncode == 0, run.stderr[-3000:]
    assert str(other) in listed.read_text()


def test_a_limit_that_was_too_low_is_raised(ended):
    ended.configure({"data": {"maximum_voxels": 40_000}})
    low = ended.snakemake("--forcerun", "validate")
    assert low.returncode == 1 and "raise the limit in config.yaml" in low.stdout + low.stderr
    ended.configure({"data": {"maximum_voxels": 10**8}})
    raised = ended.snakemake()
    assert raised.returncode == 0, raised.stderr[-3000:]
    assert "Rule: train" not in raised.stderr
    assert ended.plan() == {}


# -- the same content ------------------------------------------------------------------------------


def test_records_name_no_folder_of_this_machine(small):
    for record in results(small).glob("cases/[!.]*.json"):
        assert str(small.folder) not in record.read_text()
        assert "imaging" not in record.read_text()


def test_data_that_are_moved_linked_or_renamed_run_nothing(ended, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kits 19"
    data_of(ended).rename(elsewhere)
    ended.configure({"data": {"root": str(elsewhere)}})
    assert ended.plan() == {}
    data_of(ended).symlink_to(elsewhere)
    ended.configure({"data": {"root": "results/demo/data"}})
    assert ended.plan() == {}
    # By a table, which lies in another folder, as files of other names.
    listed = ["case,image,label"]
    for case in sorted(elsewhere.glob("case_*")):
        image, label = elsewhere / f"{case.name} CT.nii.gz", elsewhere / f"{case.name}.nii.gz"
        (case / "imaging.nii.gz").rename(image)
        if (labelled := case / "segmentation.nii.gz").exists():
            labelled.rename(label)
        listed.append(f"{case.name},{image},{label if label.exists() else ''}")
    data_of(ended).unlink()
    data_of(ended).mkdir()
    (data_of(ended) / "cases.csv").write_text("\n".join(listed))
    shutil.copy(elsewhere / "kits.json", data_of(ended))
    assert ended.plan() == {}
    # What is made anew is made from the new place.
    shutil.rmtree(next(results(ended).glob("resampled/*/unlabelled-000")))
    run = ended.snakemake("resvnet", "--forcerun", "evaluate")
    assert run.returncode == 0, run.stderr[-3000:]
    assert ended.plan() == {}


def test_kits_json_that_comes_or_goes_trains_nothing(ended):
    listed = data_of(ended) / "kits.json"
    listed.unlink()
    assert ended.plan() == {"list_cases": 1, "check_cases": 1, "check_segmented": 1}


def test_another_batch_size_runs_nothing(ended):
    for size in (1, 3, 25):
        ended.configure({"batch_size": size})
        assert ended.plan() == {}


def test_files_with_other_time_stamps_that_are_checked_first_run_nothing_else(ended):
    """The advice for data that were copied without their time stamps."""
    before = bytes_of(ended)
    for path in data_of(ended).glob("case_*/*.nii.gz"):
        os.utime(path)
    assert ended.plan("results/demo/cases.csv").keys() == {"validate", "list_cases"}
    run = ended.snakemake("results/demo/cases.csv")
    assert run.returncode == 0, run.stderr[-3000:]
    assert ended.plan() == {}
    run = ended.snakemake("results/demo/cases.csv", "--forcerun", "validate")
    assert run.returncode == 0, run.stderr[-3000:]
    assert ended.plan() == {}
    assert bytes_of(ended) == before
