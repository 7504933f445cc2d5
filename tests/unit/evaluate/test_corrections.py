"""What people changed among segmentations outlives the next collecting."""

from pathlib import Path

import pytest

from renal.errors import InputError
from renal.evaluate.collect import collect_segmentations
from renal.evaluate.corrections import COLLECTED, set_aside
from renal.handover.checked import CheckedCase
from renal.handover.seals import SEAL, check_seal, write_seal

CASES = ["case_0", "case_1", "case_2"]


@pytest.fixture
def predicted(tmp_path) -> Path:
    folder = tmp_path / "merged" / "fold0"
    folder.mkdir(parents=True)
    for name in CASES:
        (folder / f"{name}.nii.gz").write_text(f"predicted {name}")
    write_seal(folder)
    return folder


def collect(predicted: Path, cases: list[str] = CASES) -> Path:
    """As the step does it; returns the folder of segmentations."""
    output = predicted.parents[1] / "segmentation"
    (output / SEAL).unlink(missing_ok=True)  # as Snakemake does before each attempt
    set_aside(output, [predicted], output.with_name("corrected"))
    groups = {predicted: [CheckedCase(name, f"{name}/imaging.nii.gz") for name in cases]}
    collect_segmentations(groups, output)
    write_seal(output)
    check_seal(output)
    return output


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("[!.]*")}


def test_a_correction_is_kept_and_the_prediction_collected_again(predicted, caplog):
    output = collect(predicted)
    (output / "case_1.nii.gz").write_text("corrected")
    (output / "case_1 second reader.nii.gz").write_text("corrected too")
    collect(predicted)
    assert texts(output) == {f"{name}.nii.gz": f"predicted {name}" for name in CASES}
    kept = output.with_name("corrected")
    assert texts(kept) == {
        "case_1.nii.gz": "corrected",
        "case_1 second reader.nii.gz": "corrected too",
    }
    warned = f"{output / 'case_1.nii.gz'}: changed by hand: kept as {kept / 'case_1.nii.gz'}"
    assert warned in caplog.messages and len(caplog.messages) == 2


def test_what_nobody_changed_is_not_kept(predicted, caplog):
    output = collect(predicted)
    (predicted / "case_0.nii.gz").write_text("another model")
    write_seal(predicted)
    collect(predicted, ["case_0", "case_1"])  # and a case was taken away
    assert texts(output) == {
        "case_0.nii.gz": "another model",
        "case_1.nii.gz": "predicted case_1",
    }
    assert not output.with_name("corrected").exists() and not caplog.messages


def test_a_collecting_that_was_stopped_leaves_no_corrections(predicted):
    output = collect(predicted)
    for text in ("another model", "and another"):
        (predicted / "case_0.nii.gz").write_text(text)
        write_seal(predicted)
        set_aside(output, [predicted], output.with_name("corrected"))
        # Some were copied anew, and nothing sealed; then it starts again with yet another model.
        (output / "case_0.nii.gz").write_text(text)
    collect(predicted)
    assert not output.with_name("corrected").exists()


def test_a_second_correction_takes_the_name_and_the_first_stays(predicted):
    output = collect(predicted)
    for text in ("first", "second", "second"):
        (output / "case_1.nii.gz").write_text(text)
        collect(predicted)
    kept = texts(output.with_name("corrected"))
    assert kept.pop("case_1.nii.gz") == "second"
    assert sorted(kept.values()) == ["first"]
    assert all(name.startswith("case_1-") and name.endswith(".nii.gz") for name in kept)


def test_without_a_note_all_is_kept_that_was_not_predicted(predicted):
    output = predicted.parents[1] / "segmentation"
    output.mkdir()
    (output / "case_0.nii.gz").write_text("predicted case_0")
    (output / "case_1.nii.gz").write_text("of an earlier version")
    collect(predicted)
    assert texts(output.with_name("corrected")) == {"case_1.nii.gz": "of an earlier version"}


@pytest.mark.parametrize("text", ["[]", "3", '"case_0"', "{"])
def test_a_note_that_is_none_is_told_and_nothing_is_lost(predicted, text):
    output = collect(predicted)
    (output / "case_1.nii.gz").write_text("corrected")
    (output / COLLECTED).write_text(text)
    with pytest.raises(InputError, match=r"collected\.json: .*: delete it and run the workflow"):
        collect(predicted)
    (output / COLLECTED).unlink()
    collect(predicted)
    assert texts(output.with_name("corrected")) == {"case_1.nii.gz": "corrected"}
