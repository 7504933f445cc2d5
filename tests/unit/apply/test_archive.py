"""Archives of runs: what is in them, and what they do not tell."""

import json
import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest

from renal.apply.archive import gather, unpack, write_archive
from renal.apply.finished import recorded_cases
from renal.errors import InputError
from renal.handover.checked import write_checked

from .conftest import tiny_configuration
from .test_verify import tampered


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_archived(archived):
    names = set(contents(archived))
    rows = ("resvnet", "nnunet_segmentations")
    assert {"run.json", "ro-crate-metadata.json", "SHA256SUMS", "folds.csv"} < names
    assert {f"tables/cv.{ending}" for ending in ("csv", "md", "tex", "html")} < names
    scores = [f"{row}/{name}" for row in rows for name in ("scores.csv", "test_scores.csv")]
    assert {"tables/compare.csv", "tables/test.csv", *scores} < names
    cases = [f"case_{number:05d}" for number in range(3)]
    segmented = {f"{row}/segmentation/{case}.nii.gz" for row in rows for case in cases}
    assert {name for name in names if name.endswith(".gz")} == segmented
    run = json.loads(contents(archived)["run.json"])
    assert {name: case["fold"] for name, case in run["cases"].items()} == dict(
        zip(cases, (0, 1, None), strict=True)
    )
    assert list(run["rows"]) == ["resvnet", "nnunet_segmentations"]
    trained = {f"resvnet/{stage}/fold{fold}" for stage in ("whole", "tumour") for fold in (0, 1)}
    assert set(run["models"]) == trained
    assert run["recipes"]["resvnet"]["stages"]["whole"]["training"]["network"]["width"] == 2
    assert run["code"]["train"] and run["program"].startswith("0.")


def test_another_program_reads_its_checksums(archived, tmp_path):
    with zipfile.ZipFile(archived) as archive:
        archive.extractall(tmp_path)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)
    listed = {line.split("  ")[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    assert listed == set(contents(archived)) - {"SHA256SUMS"}


def test_it_is_an_ro_crate(archived):
    """By what the specification says must be there."""
    files = contents(archived)
    crate = json.loads(files["ro-crate-metadata.json"])
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    descriptor = entities["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities[descriptor["about"]["@id"]]
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert root["datePublished"][:2] == "20" and entities[root["license"]["@id"]]["description"]
    parts = {part["@id"] for part in root["hasPart"]}
    assert parts == set(files) - {"ro-crate-metadata.json", "SHA256SUMS"}
    assert all(entities[part]["@type"] == "File" for part in parts)
    for entity in crate["@graph"]:
        for value in entity.values():
            if isinstance(value, dict) and value["@id"].startswith("#"):
                assert value["@id"] in entities


def test_nothing_of_this_machine_is_in_it(finished_run, archived):
    _, folder = finished_run
    for name, content in contents(archived).items():
        assert str(folder).encode() not in content, name
        assert folder.name.encode() not in content, name
    assert "imaging.nii" not in json.dumps(contents(archived)["run.json"].decode())


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("tables/compare.csv", "tables/compare.csv: missing: finish the run first"),
        (
            "resvnet/tumour/fold1/model.safetensors",
            "if it was deleted: snakemake .*resvnet/tumour/fold1/model.safetensors",
        ),
        (
            "nnunet_segmentations/segmentation/case_00001.nii.gz",
            "nnunet_segmentations/segmentation/case_00001.nii.gz: missing: finish the run first",
        ),
        ("cases/fold0-000.json", "cases: no record of case_00000: run the workflow again"),
    ],
)
def test_a_run_that_is_not_finished_is_refused(finished_run, missing, told):
    configuration, _ = finished_run
    path = configuration.results / missing
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(InputError, match=told):
            gather(configuration, segmentations=True)
    finally:
        path.write_bytes(content)


def test_records_of_batches_that_are_no_more_are_not_looked_at(finished_run, checked):
    """As of a case that had no label and is in a fold now."""
    results = finished_run[0].results
    before = recorded_cases(results)
    old = results / "cases/unlabelled-000.json"
    write_checked(old, [replace(checked[0], label=None, checksum="00000000")])
    try:
        assert recorded_cases(results) == before
        gather(finished_run[0], segmentations=False)
    finally:
        old.unlink()


def test_a_run_that_was_not_begun_is_refused(tmp_path):
    with pytest.raises(InputError, match="missing: finish the run first"):
        gather(tiny_configuration(tmp_path), segmentations=False)


def test_the_same_run_gives_the_same_bytes(finished_run, archived, tmp_path):
    configuration, _ = finished_run
    run, files = gather(configuration, segmentations=True)
    created = json.loads(contents(archived)["run.json"])["created"]
    write_archive(tmp_path / "again.zip", run.model_copy(update={"created": created}), files)
    assert (tmp_path / "again.zip").read_bytes() == archived.read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: run.pop("labels"), "run.json: labels: Field required"),
        (lambda run: run["cases"]["case_00001"].update(fold=-1), "run.json: cases.case_00001.fold"),
        (lambda run: run.update(rows={}), "run.json: rows: "),
    ],
)
def test_a_description_that_is_none_is_refused(archived, tmp_path, change, told):
    def changed(content):
        change(run := json.loads(content))
        return json.dumps(run).encode()

    path = tampered(archived, tmp_path / "a.zip", {"run.json": changed}, hidden=True)
    with pytest.raises(InputError, match=told) as error:
        unpack(path, tmp_path / "unpacked")
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(": copy it again, or name another")
    assert "\n" not in str(error.value)


def test_a_case_that_is_no_test_any_more_has_its_fold(finished_run, tmp_path):
    """Its scores as a test may still lie there."""
    configuration, folder = finished_run
    shutil.copytree(folder / "results", tmp_path / "results")
    path = tmp_path / "results/resvnet/test_scores.csv"
    tests = path.read_text().splitlines()
    scored = (tmp_path / "results/resvnet/scores.csv").read_text().splitlines()
    path.write_text("\n".join([*tests, scored[1].replace("resvnet,0,", "resvnet,,")]) + "\n")
    moved = configuration.model_copy(update={"results": tmp_path / "results"})
    run, _ = gather(moved, segmentations=False)
    assert run.cases["case_00000"].fold == 0
