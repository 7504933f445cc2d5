"""The cases of a run by folds and batches, known before any file is read."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from renal.data.cases import Case
from renal.data.folds import Place, assign, read_assignments, write_assignments
from renal.data.lists import listed_spacings
from renal.data.stamps import outline_stamps, stamps
from renal.errors import InputError
from renal.handover.case_files import write_files
from renal.handover.seals import write_seal


class Cohort:
    """Cases in their folds and batches.

    Parameters
    ----------
    cases : list of Case
        Those of the run.
    root : Path
        The data set's folder.
    stored : Path
        folds.csv, with what was dealt before.
    folds, seed, batch_size : int
        Number of folds, seed of the deal, and the most cases in a batch.
    groups : mapping
        Case name to the group that one fold holds out as a whole.
    excluded : iterable of str
        Names that a user leaves out.

    Raises
    ------
    InputError
        As from `assign`; if a case that was labelled is neither there nor excluded.
    """

    def __init__(
        self,
        cases: list[Case],
        root: Path,
        stored: Path,
        *,
        folds: int,
        seed: int,
        batch_size: int,
        groups: Mapping[str, str],
        excluded: Iterable[str],
    ) -> None:
        self.cases = {case.name: case for case in cases}
        self._stored = stored
        self._dealt = {"folds": folds, "seed": seed}
        # What the data set's own list says of its cases.
        self.listed = json.dumps(listed_spacings(root), sort_keys=True)
        # Without the folder cases stand in for those that are on another machine.
        known = read_assignments(stored, **self._dealt) if root.is_dir() else []
        _refuse_vanished(known, {*self.cases, *excluded})
        self._places = assign(
            cases, known=known, batch_size=batch_size, groups=groups, **self._dealt
        )

    @cached_property
    def batches(self) -> dict[str, list[str]]:
        """Batch to its cases."""
        batches: dict[str, list[str]] = {}
        for place in self._places:
            batches.setdefault(place.batch, []).append(place.name)
        return dict(sorted(batches.items()))

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Group to its batches.

        The cases that a fold holds out are predicted together, all others batch by batch.
        """
        groups: dict[str, list[str]] = {}
        for batch in self.batches:
            fold, _, _ = batch.partition("-")
            groups.setdefault(fold if fold.startswith("fold") else batch, []).append(batch)
        return groups

    def _batches_of(self, kind: str) -> list[str]:
        return [batch for batch in self.batches if batch.startswith(kind)]

    @property
    def labelled(self) -> list[str]:
        """Batches of labelled cases that folds hold out."""
        return self._batches_of("fold")

    @property
    def tested(self) -> list[str]:
        """Batches of labelled cases that nothing learns from."""
        return self._batches_of("test")

    @property
    def unlabelled(self) -> list[str]:
        """Batches of cases that are only to be segmented."""
        return self._batches_of("unlabelled")

    @property
    def held_out(self) -> list[str]:
        """The folds."""
        return [f"fold{fold}" for fold in range(self._dealt["folds"])]

    def training_batches(self, fold: str) -> list[str]:
        """Batches that a training without a fold (``fold0``) learns from."""
        return [batch for batch in self.labelled if not batch.startswith(f"{fold}-")]

    def stamps(self, batch: str) -> list[str]:
        """What tells that a batch's files are others."""
        return stamps(
            {
                _stamped(name, kind, path): path
                for name in self.batches[batch]
                for kind, path in self.cases[name].files.items()
            }
        )

    @cached_property
    def outlines(self) -> list[str]:
        """What tells that annotators' outlines of labelled cases are others; empty without any."""
        batches = (*self.labelled, *self.tested)
        return outline_stamps(
            {name: self.cases[name].image for batch in batches for name in self.batches[batch]}
        )

    @property
    def files(self) -> Path:
        """The list of where the files of each case lie, for the steps that read them."""
        return self._stored.with_name("files.json")

    def forget_transient_faults(self) -> None:
        """Remove the records of faults that may have gone, so that their cases are checked again.

        Nothing that Snakemake looks at tells that permissions were mended or a limit was raised.
        """
        for batch in self.batches:
            record = self._stored.with_name("cases") / f"{batch}.json"
            if record.exists() and b'"transient": true' in record.read_bytes():
                record.unlink()

    def store(self) -> None:
        """Write `files`, and folds.csv, from which later plans take who is held out with whom."""
        write_assignments(self._stored, self._places, **self._dealt)
        write_files(self.files, {name: (c.image, c.label) for name, c in self.cases.items()})
        write_seal(self.files)


def _stamped(name: str, kind: str, path: Path) -> str:
    """A file by its case, wherever it lies; one that is not packed may have another's size, too."""
    return f"{name} {kind}" if path.suffix == ".gz" else f"{name} {kind} {path}"


def _refuse_vanished(known: Iterable[Place], accounted: set[str]) -> None:
    """Raise an InputError where a case was labelled and is not accounted for."""
    if gone := sorted({place.name for place in known if place.labelled} - accounted):
        raise InputError(
            f"{', '.join(gone)}: in folds.csv in the results folder, but not in the data folder: "
            "put it back, or take its line out of folds.csv to go on without it"
        )
