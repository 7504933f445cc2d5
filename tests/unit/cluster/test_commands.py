"""`renal run`: what Snakemake is told; and `renal doctor`."""

import os
from pathlib import Path

import pytest

from renal.__main__ import parser
from renal.cluster import doctor
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


def test_the_command_becomes_snakemake(monkeypatch):
    became = []
    monkeypatch.setattr(os, "execv", lambda *given: became.append(given))
    a = parser().parse_args(["run", "--cores", "2", "--help"])
    a.step(a)()
    command = snakemake_command(["--cores", "2", "--help"])
    assert became == [(command[0], command)]


def test_a_machine_is_described_for_the_folder_that_is_named(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Finding("disk", str(folder))])
    for options, folder in (([], Path("results")), (["--results", "there"], Path("there"))):
        a = parser().parse_args(["doctor", *options])
        a.step(a)()
        assert capsys.readouterr().out == f"  disk  {folder}\n"
