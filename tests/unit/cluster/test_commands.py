"""`renal run`: what Snakemake is told."""

import pytest

from renal.cluster.commands import snakemake_command
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
