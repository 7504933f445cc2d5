"""Event files, read back by TensorBoard's own reader."""

import io
import sys
from dataclasses import dataclass

import pytest

from renal.errors import InputError
from renal.report.events import write_events

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="tensorboard is not installed",
)


@dataclass(frozen=True)
class Epochs:
    rows: list[dict[str, float]]
    ended: float = 1000.0
    seconds: float = 100.0


def epochs(count: int, **others: float) -> Epochs:
    numbers = range(1, count + 1)
    return Epochs([{"epoch": n, "loss": 1 / n, "dice": 0.1 * n, **others} for n in numbers])


def read(folder):
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_every_epoch_of_every_curve_is_read_back(tmp_path):
    histories = {
        "a/whole/fold0": epochs(4),
        "a/whole/fold1": epochs(2, validation_loss=0.5, validation_dice=float("nan")),
    }
    write_events(histories, tmp_path)
    first, second = (read(tmp_path / name) for name in histories)
    assert set(first.Tags()["scalars"]) == {"training/loss", "training/dice"}
    told = first.Scalars("training/loss")
    assert [point.step for point in told] == [1, 2, 3, 4]
    assert [point.value for point in told] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert [point.wall_time for point in told] == [925, 950, 975, 1000]
    assert [point.value for point in second.Scalars("validation/loss")] == [0.5, 0.5]
    assert "validation/dice" not in second.Tags()["scalars"]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_running_training_is_prolonged_while_somebody_watches(tmp_path):
    write_events({"run": epochs(2)}, tmp_path)
    watching = read(tmp_path / "run")
    (before,) = files(tmp_path / "run")
    write_events({"run": epochs(5)}, tmp_path)
    assert files(tmp_path / "run") == [before]
    watching.Reload()
    assert [point.step for point in watching.Scalars("training/dice")] == [1, 2, 3, 4, 5]


def test_what_is_written_already_is_left_alone(tmp_path):
    write_events({"run": epochs(3)}, tmp_path)
    (path,) = (tmp_path / "run").iterdir()
    before = path.stat()
    write_events({"run": epochs(3)}, tmp_path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_training_that_began_anew_has_a_new_file(tmp_path):
    write_events({"run": epochs(3)}, tmp_path)
    (before,) = files(tmp_path / "run")
    write_events({"run": epochs(1)}, tmp_path)
    (after,) = files(tmp_path / "run")
    assert before != after
    assert [point.step for point in read(tmp_path / "run").Scalars("training/loss")] == [1]


def record_of_something_else(_: bytes) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    RecordWriter(stream := io.BytesIO()).write(b"\xff" * 9)
    return stream.getvalue()


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-3], lambda b: b[:40] + b"\xff" + b[41:], record_of_something_else],
    ids=["cut off", "another byte", "no event"],
)
def test_a_damaged_file_is_written_anew(tmp_path, damage):
    write_events({"run": epochs(3)}, tmp_path)
    (path,) = (tmp_path / "run").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    write_events({"run": epochs(3)}, tmp_path)
    told = read(tmp_path / "run").Scalars("training/dice")
    assert [point.step for point in told] == [1, 2, 3]


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[tensorboard\]'"):
        write_events({"run": epochs(1)}, tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_events({"run": epochs(1)}, tmp_path / "file")
