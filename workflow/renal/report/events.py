"""Training curves as event files, which TensorBoard shows."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from renal.errors import InputError

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

log = logging.getLogger(__name__)

PREFIX = "events.out.tfevents."  # by which TensorBoard finds its files
FRAME = 16  # bytes round each record: its length, and checksums of both
# How TensorBoard groups curves: what stands before a slash is shown together.
GROUPS = {"validation_": "validation/", "": "training/"}

Point = tuple[int, str, float]


class History(Protocol):
    """The epochs of a training, as `renal.learn.histories` finds them."""

    @property
    def rows(self) -> Sequence[Mapping[str, float]]:
        """Of each epoch, column of history.csv to value; ``epoch`` is among them."""

    @property
    def ended(self) -> float:
        """When the last epoch ended, in seconds since 1970."""

    @property
    def seconds(self) -> float:
        """How long they took together."""


def write_events(histories: Mapping[str, History], output: Path) -> None:
    """Write or prolong an event file for each training.

    What is in a file already is not written again, so that a TensorBoard that shows it goes on;
    a training that began anew gets a new file in place of its old one.

    Parameters
    ----------
    histories : mapping
        Name of a run, such as ``resvnet/whole/fold0``, to its history.
    output : Path
        Folder of runs, for ``tensorboard --logdir``.

    Raises
    ------
    InputError
        If the package tensorboard is missing, or the folder cannot be written.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(
            "tensorboard: not installed, and needed to write event files: `make setup` installs "
            "it; otherwise pip install -e '.[tensorboard]' in the clone"
        ) from error
    for name, history in histories.items():
        folder = output / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            added = _prolong(folder, history)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror or error}): "
                "free space or mend the permissions, then run again"
            ) from error
        log.info("%s: %d epochs, %d of them new", name, len(history.rows), added)


def _prolong(folder: Path, history: History) -> int:
    """Bring a run's file up to its history; returns the number of epochs that were added."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    files = sorted(folder.glob(f"{PREFIX}*"))
    points = _points(history)
    known = _read(files[0]) if len(files) == 1 else []
    if not known or known != points[: len(known)]:
        for file in files:
            file.unlink()
        known = []
    if known and len(known) == len(points):
        return 0
    # The name of a new file is another one, or TensorBoard would read on in the middle of it.
    path = files[0] if known else folder / f"{PREFIX}{_new_number(files)}.renal"
    with path.open("ab") as stream:
        writer = RecordWriter(stream)
        if not known:
            opening = Event(wall_time=history.ended - history.seconds, file_version="brain.Event:2")
            writer.write(opening.SerializeToString())
        for point in points[len(known) :]:
            writer.write(_event(point, history).SerializeToString())
        writer.flush()
    return len({step for step, _, _ in points[len(known) :]})


def _points(history: History) -> list[Point]:
    """Epoch, curve and value of all that a history holds, in single precision as it is stored."""
    import numpy as np

    return [
        (int(row["epoch"]), _tag(column), float(np.float32(value)))
        for row in history.rows
        for column, value in row.items()
        if column != "epoch" and value == value
    ]


def _tag(column: str) -> str:
    prefix = next(prefix for prefix in GROUPS if column.startswith(prefix))
    return GROUPS[prefix] + column.removeprefix(prefix)


def _event(point: Point, history: History) -> "Event":
    """A point of a curve, at the time at which its epoch ended if all took equally long."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    step, tag, value = point
    left = 1 - step / max(row["epoch"] for row in history.rows)
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=history.ended - history.seconds * left, step=step, summary=summary)


def _read(path: Path) -> list[Point]:
    """What an event file holds; nothing of one that is damaged or cut short: it is written anew."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        records = list(RawEventFileLoader(str(path)).Load())
        events = [Event.FromString(record) for record in records]
    except Exception:  # the reader raises many kinds
        return []
    # It stops without a word before a record that is not whole.
    if sum(len(record) + FRAME for record in records) != path.stat().st_size:
        return []
    return [(event.step, v.tag, v.simple_value) for event in events for v in event.summary.value]


def _new_number(files: list[Path]) -> int:
    numbers = [file.name.removeprefix(PREFIX).partition(".")[0] for file in files]
    return max((int(number) for number in numbers if number.isdigit()), default=0) + 1
