"""`renal run`: what Snakemake is told; `renal schema`: what a user may say."""

import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from renal.__main__ import main
from renal.cluster.commands import snakemake_command
from renal.recipe import METHODS
from renal.sources import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_arguments_are_handed_on():
    assert snakemake_command(["--cores", "2", "--", "a.csv"])[-4:] == [
        "--cores",
        "2",
        "--",
        "a.csv",
    ]


def test_a_configuration_of_the_folder_is_taken_unless_one_is_named(elsewhere):
    (elsewhere / "config.yaml").touch()
    assert "config.yaml" in snakemake_command(["--cores", "2"])
    assert "config.yaml" not in snakemake_command(["--configfile", "other.yaml"])


def test_a_profile_of_the_folder_goes_before_one_of_the_workflow(elsewhere):
    assert snakemake_command(["--profile", "slurm"])[-1] == str(ROOT / "slurm")
    (elsewhere / "slurm").mkdir()
    assert snakemake_command(["--profile", "slurm"])[-1] == "slurm"


def told_schema(capsys, monkeypatch, of):
    monkeypatch.setattr(sys, "argv", ["renal", "schema", of])
    assert main() == 0
    return capsys.readouterr().out


def test_the_schema_that_the_catalog_shows_is_the_typed_configuration(capsys, monkeypatch):
    stored = ROOT / "workflow/schemas/config.schema.yaml"
    told = told_schema(capsys, monkeypatch, "config")
    assert stored.read_text() == told, f"python -m renal schema config > {stored}"


def test_the_configuration_that_comes_with_the_workflow_keeps_to_the_schema(capsys, monkeypatch):
    schema = yaml.safe_load(told_schema(capsys, monkeypatch, "config"))
    given = yaml.safe_load((ROOT / "config.yaml").read_text())
    given["overrides"] = given.get("overrides") or {}
    jsonschema.validate(given, schema)
    given["folds"]["count"] = 1
    with pytest.raises(jsonschema.ValidationError, match="less than the minimum"):
        jsonschema.validate(given, schema)


@pytest.mark.parametrize("name", ["resvnet", "damnet", "tunet", "msvnet", "mrbnet"])
def test_recipes_keep_to_the_schema(capsys, monkeypatch, name):
    schema = yaml.safe_load(told_schema(capsys, monkeypatch, "recipe"))
    jsonschema.validate(yaml.safe_load(Path(METHODS / f"{name}.yaml").read_text()), schema)
