"""`renal run`: what Snakemake is told; and `renal doctor`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

from renal.__main__ import parser, run
from renal.cluster import doctor
from renal.cluster.commands import files_of_arguments, snakemake_command
from renal.errors import InputError
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
    found, _ = files_of_arguments(snakemake_command(["--cores", "2"])[3:], elsewhere)
    assert found == [Path("config.yaml")]
    for named in (["--configfile", "other.yaml"], ["--configfile=other.yaml"]):
        assert not [part for part in snakemake_command(named) if part.endswith("config.yaml")]


@pytest.mark.parametrize("arguments", [["resvnet", "--cores", "1"], ["--cores", "1", "resvnet"]])
def test_a_target_is_no_configuration(elsewhere, arguments):
    (elsewhere / "config.yaml").touch()
    given, _ = get_argument_parser().parse_known_args(snakemake_command(arguments)[3:])
    assert (given.targets, given.configfile) == (["resvnet"], [Path("config.yaml")])


def test_a_profile_of_the_folder_goes_before_one_of_the_workflow(elsewhere):
    for given in (["--profile", "slurm"], ["--profile=slurm"]):
        assert snakemake_command(given)[-2:] == ["--profile", str(ROOT / "slurm")]
    (elsewhere / "slurm").mkdir()
    assert snakemake_command(["--profile", "slurm"])[-1] == "slurm"


def test_no_module_of_the_working_folder_is_imported_by_costs(elsewhere):
    (elsewhere / "random.py").write_text("raise SystemExit('the wrong module')\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    told = subprocess.run(
        [sys.executable, "-P", "-m", "renal", "costs", "--help"],
        env=environment | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0 and "What a run will cost" in told.stdout, told.stderr


def test_the_command_becomes_snakemake(monkeypatch):
    became = []
    monkeypatch.setattr(os, "execve", lambda *given: became.append(given))
    a = parser().parse_args(["run", "--cores", "2", "--dry-run"])
    a.step(a)()
    ((program, command, environment),) = became
    assert command == snakemake_command(["--cores", "2", "--dry-run"])
    assert program == command[0]
    assert environment == os.environ | {"PYTHONSAFEPATH": "1"}


def test_a_machine_is_described_for_the_folder_that_is_named(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Finding("disk", str(folder))])
    for options, folder in (([], Path("results")), (["--results", "there"], Path("there"))):
        a = parser().parse_args(["doctor", *options])
        a.step(a)()
        assert capsys.readouterr().out == f"  disk  {folder}\n"


def test_profiles_and_configurations_are_those_that_snakemake_takes(elsewhere):
    assert files_of_arguments([], ROOT) == ([], [ROOT / "profiles/default/profile.yaml"])
    for name in ("profiles/default", "cluster"):
        (elsewhere / name).mkdir(parents=True)
    (elsewhere / "profiles/default/config.yaml").write_text("retries: 1\n")
    (elsewhere / "cluster/profile.v9+.yaml").write_text("configfile: [a.yaml]\n")
    given = ["-n", "--profile", "cluster", "--config", "x=1", "--configfile", "b.yaml", "c.yaml"]
    assert files_of_arguments(given, ROOT) == (
        [Path("b.yaml"), Path("c.yaml")],
        [Path("cluster/profile.v9+.yaml"), Path("profiles/default/config.yaml")],
    )
    without = ["--profile", "cluster", "--workflow-profile", "none"]
    assert files_of_arguments(without, ROOT)[0] == [Path("a.yaml")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &a {x: *a}\n", "aliases stand for more than"),
        (
            "a0: &a0 {x: 1}\n"
            + "".join(
                f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}\n"
                for n in range(1, 9)
            ),
            "aliases stand for more than",
        ),
        ("results: a\nresults: b\n", "'results' is said twice"),
    ],
    ids=["itself", "bomb", "twice"],
)
@pytest.mark.parametrize("arguments", [[], ["--configfile", "config.yaml"], ["--profile", "own"]])
def test_what_snakemake_would_hang_on_never_reaches_it(elsewhere, text, fault, arguments):
    (elsewhere / "own").mkdir()
    (elsewhere / "own/profile.yaml").write_text("configfile: [config.yaml]\n")
    (elsewhere / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=fault) as told:
        run(argparse.Namespace(arguments=arguments))
    assert str(told.value).startswith("config.yaml: ")
