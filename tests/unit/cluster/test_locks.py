"""Which results another run has to do with."""

from pathlib import Path

import pytest

from renal.cluster.locks import in_use

RESULTS = Path("results/demo")


@pytest.fixture
def locks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    return tmp_path / ".snakemake/locks"


@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize("folder", ["results/demo", "{}/results/demo"])
def test_results_that_a_lock_names_are_in_use(locks, tmp_path, kind, folder):
    files = f"data/a.nii.gz\n{folder.format(tmp_path)}/cases/fold0-000.json\n"
    (locks / f"0.{kind}.lock").write_text(files)
    assert in_use(RESULTS) and in_use(tmp_path / RESULTS)


def test_other_results_are_not(locks):
    (locks / "0.output.lock").write_text("results/demo2/cases.csv\nresults/tables/cv.csv\n")
    assert not in_use(RESULTS)


def test_without_locks_nothing_is_in_use(locks):
    assert not in_use(RESULTS)
    locks.rmdir()
    assert not in_use(RESULTS)
