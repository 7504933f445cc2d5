"""The commands, as programs and in this process: what they write, refuse and end with."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from renal import __main__ as command_line
from renal.sources import PACKAGE, ROOT

from .conftest import tiny_configuration
from .test_verify import tampered


@pytest.fixture
def renal(monkeypatch, capsys):
    """Runs a command; gives the exit status and what it told."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["renal", *map(str, arguments)])
        monkeypatch.setattr(command_line.log, "handlers", [])
        status = command_line.main()
        told = capsys.readouterr()
        return status, told.out + told.err

    return run


@pytest.fixture
def cts(tmp_path, checked):
    """A folder with two CTs, one of them deeper, and one that is none between them."""
    folder = tmp_path / "cts"
    (folder / "a").mkdir(parents=True)
    shutil.copy(checked[0].image, folder / "a/first.nii.gz")
    shutil.copy(checked[1].image, folder / "second.nii.gz")
    (folder / "bad.nii.gz").write_bytes(b"no image")
    return folder


def test_bad_cts_are_named_at_the_end_and_the_others_are_finished(renal, packed, cts, tmp_path):
    out, sizes = tmp_path / "out", tmp_path / "sizes.csv"
    status, told = renal(
        *("segment", cts, "--model", packed, "--to", out, "--threads", 1, "--preview"),
        *("--volumes", sizes),
    )
    assert status == 1
    assert told.splitlines()[-2] == "error: 1 of 3 CTs were not segmented:"
    assert told.splitlines()[-1].startswith(f"{cts}/bad.nii.gz: ")
    assert "Traceback" not in told
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    endings = (".nii.gz", ".json", ".png")
    assert written == {f"{name}{ending}" for name in ("a/first", "second") for ending in endings}
    account = json.loads((out / "a/first.json").read_text())
    assert account["model"] == "resvnet"
    assert account["folds"] == [0, 1]
    assert account["intended_use"].startswith("Research use, not a medical device.")
    assert isinstance(account["warnings"], list)
    with sizes.open() as stream:
        rows = list(csv.DictReader(stream))
    expected = [
        len(json.loads((out / f"{n}.json").read_text())["measures"]) for n in ("a/first", "second")
    ]
    assert [sum(row["case"] == n for row in rows) for n in ("a/first", "second")] == expected


def test_a_single_ct_by_one_fold(renal, packed, checked, tmp_path):
    command = ("segment", checked[0].image, "--model", packed, "--to", tmp_path, "--threads", 1)
    assert renal(*command, "--folds", 1)[0] == 0
    assert json.loads((tmp_path / "imaging.json").read_text())["folds"] == [1]


@pytest.mark.parametrize("option", ["--to", "--volumes"])
def test_where_nothing_can_be_written_is_told_before_the_work(renal, cts, packed, option, tmp_path):
    (tmp_path / "file").touch()
    targets = {"--to": tmp_path / "out", "--volumes": tmp_path / "sizes.csv"}
    targets[option] = tmp_path / "file" / "deeper" / "sizes.csv"
    given = [word for target in targets.items() for word in target]
    status, told = renal("segment", cts, "--model", packed, *given)
    assert status == 1 and not list(tmp_path.glob("out/*"))
    assert told.startswith(f"error: {tmp_path}/file/deeper") and told.count("\n") == 1


def test_no_threads_are_refused(renal, cts, packed, tmp_path, capsys):
    with pytest.raises(SystemExit):
        renal("segment", cts, "--model", packed, "--to", tmp_path / "out", "--threads", 0)
    assert "--threads: at least 1 (is 0)" in capsys.readouterr().err


def test_a_fold_that_is_not_there(renal, packed, cts, tmp_path):
    status, told = renal("segment", cts, "--model", packed, "--to", tmp_path / "o", "--folds", 2)
    assert (status, told) == (1, "error: --folds 2: the package has folds 0 to 1\n")


def test_a_package_tells_what_it_is(renal, packed):
    status, told = renal("inspect", packed)
    assert status == 0
    assert told.startswith("resvnet: Res-VNet cascade, two stages\nResearch use, not a medical")
    assert "Dice of kidney in cross-validation: 0.910 (SD 0.014)" in told
    assert "learned from 3 cases" in told


@pytest.fixture
def project(tmp_path, packed, monkeypatch):
    """A workflow's folder in which a tiny row is trained."""
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    configuration = tiny_configuration(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration.model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_export_gives_the_same_bytes_wherever_the_results_lie(renal, project, packed):
    assert renal("export", "resvnet", "--to", "row.renal") == (0, "")
    assert (project / "row.renal").read_bytes() == packed.read_bytes()


def test_export_of_what_is_not_there(renal, project):
    status, told = renal("export", "unknown", "--to", "row.renal")
    assert (status, told.count("\n")) == (1, 1)
    assert "no 'unknown' (resvnet): add it there" in told
    (project / "results/resvnet/scores.csv").unlink()
    assert "scores.csv: missing: " in renal("export", "resvnet", "--to", "row.renal")[1]
    model = project / "results/resvnet/tumour/fold1/model.safetensors"
    model.unlink()
    _, told = renal("export", "resvnet", "--to", "row.renal")
    assert told.startswith(f"error: {model}: missing: train the row first: snakemake resvnet; ")
    assert told.endswith(f"if it was deleted: snakemake {model}\n") and told.count("\n") == 1
    assert not (project / "row.renal").exists()


def test_export_where_config_yaml_says_only_what_is_other_than_the_workflow_s(
    renal, project, packed
):
    """As a run takes it, and with what a run was told by --config."""
    values = yaml.safe_load((project / "config.yaml").read_text())
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())
    changed = {key: value for key, value in values.items() if value != shipped.get(key)}
    entry = f"results={changed.pop('results')}"
    assert changed.keys() < values.keys()
    (project / "config.yaml").write_text(yaml.safe_dump(changed))
    assert renal("export", "resvnet", "--to", "row.renal", "--config", entry) == (0, "")
    assert (project / "row.renal").read_bytes() == packed.read_bytes()


def test_export_where_nothing_was_run(renal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, told = renal("export", "resvnet", "--to", "row.renal")
    assert (status, told.count("\n")) == (1, 1)
    assert "missing" in told and not (tmp_path / "row.renal").exists()


def test_without_a_checkout_and_without_a_network(packed, checked, tmp_path):
    """The package alone, as pip installs it, in an interpreter that cannot open a connection."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "site/renal", ignore=ignore)
    shutil.copy(packed, tmp_path / "row.renal")
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refused(*_):\n    raise OSError('no network here')\n"
        "socket.socket.connect = refused\n"
    )
    shutil.move(tmp_path / "sitecustomize.py", tmp_path / "site")
    command = ["segment", checked[0].image, "--model", "row.renal", "--to", "out", "--threads", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "renal", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out/imaging.nii.gz").exists()


# -- labels against labels ------------------------------------------------------------------------


def test_labels_are_compared_on_the_cases_that_both_have(renal, shared_kits19, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("case_00000", "case_00002"):
        shutil.copy(shared_kits19 / name / "segmentation.nii.gz", flat / f"{name}.nii.gz")
    shutil.copy(flat / "case_00000.nii.gz", flat / "case_7.nii.gz")
    status, told = renal(
        *("compare_labels", flat, shared_kits19, "--labels", "kits19", "kits23"),
        *("--to", tmp_path / "to", "--threads", 1),
    )
    assert status == 0
    assert "| Kidney Dice | 1.000 | 1.000 | 1.000 | 1.000 | 2 |" in told
    assert "| case_00002 | 1.000 | 1.000 | 1.000 |" in told
    assert f"{flat}: 1 cases are not in the other" in told
    with (tmp_path / "to/labels.csv").open() as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["case_00000", "case_00002"]


def test_a_single_case_against_itself_is_printed_alone(renal, shared_kits19, tmp_path):
    shutil.copy(shared_kits19 / "case_00000/segmentation.nii.gz", tmp_path / "case_00000.nii.gz")
    status, told = renal("compare_labels", tmp_path, tmp_path, "--threads", 1)
    assert status == 0 and "| case_00000 | 1.000 | 1.000 | 1.000 |" in told
    assert "not in the other" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["case_00000.nii.gz"]


def test_a_scheme_that_is_not_known_is_told(shared_kits19, capsys):
    command = ["compare_labels", str(shared_kits19), str(shared_kits19), "--labels", "kits99"]
    with pytest.raises(SystemExit) as ended:
        command_line.parser().parse_args(command)
    assert ended.value.code == 2
    assert "argument --labels: choose from kits19, kits23, or give JSON" in capsys.readouterr().err


def test_what_differs_in_an_archive_is_counted_and_told(renal, archived, tmp_path):
    changes = {"resvnet/scores.csv": lambda content: None, "tables/cv.md": lambda content: None}
    path = tampered(archived, tmp_path / "a.zip", changes)
    status, told = renal("verify", path, "--threads", 1)
    assert status == 1
    first, *differences = told.partition("error: ")[2].splitlines()
    assert first == f"{path}: 3 things differ:"
    assert differences[:2] == ["resvnet/scores.csv: missing", "tables/cv.md: missing"]
    assert "compared: files of renal" in told and "nothing differs" not in told


def test_labels_of_no_common_case_and_too_many_schemes(renal, shared_kits19, tmp_path):
    shutil.copytree(shared_kits19 / "case_00000", tmp_path / "case_7")
    status, told = renal("compare_labels", shared_kits19, tmp_path)
    assert (status, told) == (
        1,
        f"error: {shared_kits19}, {tmp_path}: no case has a label in both: name others\n",
    )
    three = ["--labels", "kits19", "kits23", "kits19"]
    status, told = renal("compare_labels", shared_kits19, shared_kits19, *three)
    assert (status, told.count("\n")) == (1, 1)
    assert told.startswith("error: --labels: name one scheme")
