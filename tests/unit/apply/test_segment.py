"""CTs one after another: one that memory is short for is named, and the others are finished."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest

from renal.apply import segment
from renal.apply.inputs import NiftiInput
from renal.apply.measures import Measure
from renal.apply.progress import Progress
from renal.apply.segment import segment_all, write_measures


class Row:
    """Finds nothing, and fails at the first CT."""

    def __init__(self, file, fault):
        self.file, self.package, self.folds, self.fault = file, file.package, [0], fault

    def segment(self, volume, spacing, name, tell):
        if name == "first":
            raise self.fault
        return np.zeros(volume.shape, np.uint8)


@pytest.fixture
def run(opened, checked, tmp_path):
    """Segments two CTs; gives what became of them, and what was told meanwhile."""

    def segment(fault):
        inputs = [NiftiInput(name, Path(checked[0].image)) for name in ("first", "second")]
        stream = io.StringIO()
        progress = Progress(len(inputs), 1, stream)
        return segment_all(inputs, Row(opened, fault), tmp_path, progress, preview=False), stream

    return segment


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("Exception thrown in SimpleITK\nFailed to allocate memory for image."),
    ],
    ids=["Python", "torch", "SimpleITK"],
)
def test_a_ct_that_memory_is_short_for_is_named_and_the_others_are_finished(run, fault, tmp_path):
    outcome, told = run(fault)
    (line,) = outcome.faults
    assert line.startswith("first: not enough memory") and line.endswith(": use a larger machine")
    assert " ".join(str(fault).split()) in line and "\n" not in line
    assert [path.name for path in outcome.written] == ["second.nii.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second.json", "second.nii.gz"]
    first, second = told.getvalue().splitlines()
    assert first.startswith("1 of 2: first: not segmented: first: not enough memory")
    assert second.startswith("2 of 2: second: ")


def test_nothing_of_an_earlier_result_is_left(run, tmp_path):
    """A picture of another segmentation, or an account where the work was interrupted."""
    for name in ("second.png", "second.json"):
        (tmp_path / name).write_text("of another")
    run(MemoryError())
    assert not (tmp_path / "second.png").exists()
    assert (tmp_path / "second.json").read_text() != "of another"


def test_a_picture_tells_what_the_models_are_for_and_learned_from(
    opened, checked, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(segment, "draw_preview", lambda *arguments: drawn.append(arguments))
    inputs, progress = [NiftiInput("second", Path(checked[0].image))], Progress(1, 1, io.StringIO())
    segment_all(inputs, Row(opened, None), tmp_path, progress, preview=True)
    ((path, _, _, _, title, _),) = drawn
    assert path == tmp_path / "second.png" and title.startswith("second: Res-VNet")
    assert opened.package.intended_use in " ".join(title.splitlines())
    assert "\nlearned from 3 cases: slices " in title
    assert max(map(len, title.splitlines())) <= 90


@pytest.mark.parametrize("name", ["a$^$b", os.fsdecode(b"M\xfcller"), "a\\b"])
def test_any_name_can_be_drawn_and_listed(name, opened, checked, tmp_path):
    """A formula that is none, and what is no UTF-8, ended it, and left the other CTs out."""
    inputs, progress = [NiftiInput(name, Path(checked[0].image))], Progress(1, 1, io.StringIO())
    outcome = segment_all(inputs, Row(opened, None), tmp_path, progress, preview=True)
    assert outcome.faults == [] and (tmp_path / f"{name}.png").exists()
    kidney = Measure("kidney", "right", 1.0, 1.0)
    write_measures(tmp_path / "volumes.csv", [(name, kidney)])
    with (tmp_path / "volumes.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["case"] == name.encode(errors="backslashreplace").decode()


def test_another_fault_of_the_program_ends_it(run):
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(RuntimeError("shapes differ"))
