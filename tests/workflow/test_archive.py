"""A run that the workflow finished, archived and verified by the commands, and moved elsewhere."""

import shutil
import subprocess
import sys

from .conftest import Project, results


def renal(project: Project, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "renal", *map(str, arguments)],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_finished_run_is_archived_and_verified(small, tmp_path):
    archive, data = tmp_path / "run.zip", results(small) / "data"
    made = renal(small, "archive", archive, "--configfile", "run.yaml", "--segmentations")
    assert made.returncode == 0, made.stderr
    assert "SHA-256" in made.stderr
    assert str(small.folder).encode() not in archive.read_bytes()
    verified = renal(small, "verify", archive, "--data", data)
    assert verified.returncode == 0, verified.stderr
    assert "with those of 4 segmentations" in verified.stderr
    assert verified.stderr.endswith("nothing differs\n")


def test_tables_that_do_not_fit_the_scores_are_not_archived(ended, tmp_path):
    table = results(ended) / "tables/cv.csv"
    table.write_text(table.read_text().replace("resvnet,resvnet,native", "resvnet,other,native", 1))
    made = renal(ended, "archive", tmp_path / "run.zip", "--configfile", "run.yaml")
    assert made.returncode == 1
    assert "the results do not fit each other:\ntables/cv.csv: " in made.stderr
    assert "Traceback" not in made.stderr
    assert not list(tmp_path.glob("*.zip"))


def test_results_that_were_moved_run_nothing(ended, tmp_path_factory):
    """With their time stamps and hidden files, as mv, cp -a and rsync -a leave them."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.copytree(ended.folder, elsewhere, symlinks=True)
    moved = Project(elsewhere)
    assert moved.plan() == {}
    (elsewhere / "results").rename(elsewhere / "kept")
    moved.configure({"results": "kept/demo", "data": {"root": "kept/demo/data"}})
    assert moved.plan() == {}


def test_results_that_lost_their_time_stamps_are_touched(ended, tmp_path_factory):
    """As cp -r leaves them: the newest file is what was copied last."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.copytree(ended.folder, elsewhere, copy_function=shutil.copyfile)
    copied = Project(elsewhere)
    touched = copied.snakemake("--touch")
    assert touched.returncode == 0, touched.stderr[-2000:]
    assert copied.plan() == {}
