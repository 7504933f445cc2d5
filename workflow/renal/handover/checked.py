"""Records of checked cases: the only door to the data."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from renal.errors import InputError
from renal.files import read_json, write_json


@dataclass
class CheckedCase:
    """What is known of a case once its files were read.

    Attributes
    ----------
    name : str
        Case name.
    image, label : str
        Paths; label is None for an unlabelled case. No record has them, so that files that are
        moved or renamed change none and none leads to an older place: `renal.handover.case_files`
        tells them. Empty where only the record was read.
    shape : list of int
        (z, y, x) voxels of the image; None if its header could not be read.
    spacing : list of float
        (z, y, x) mm; None likewise.
    volumes_ml : dict of str to float
        Volume of each region by its name; empty for an unlabelled case.
    checksum : str
        CRC-32 of the image and label files, so that a changed file changes this record and
        with it all that is made from it.
    sample : str
        CRC-32 of the HU of some voxels, by which a CT is known however its file was written.
    fault : str
        Why the case cannot be used, as one line; empty if it can.
    transient : bool
        Whether the fault may go while the files stay: of permissions, a disk, a limit.
    notes : list of str
        What is unusual but legal.
    """

    name: str
    image: str
    label: str | None = None
    shape: list[int] | None = None
    spacing: list[float] | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    checksum: str = ""
    sample: str = ""
    fault: str = ""
    transient: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def label_path(self) -> Path:
        """Where the label is; an InputError if there is none."""
        if self.label is None:
            raise InputError(
                f"{self.name}: no label, which is needed here: add it, or leave the case out"
            )
        return Path(self.label)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(z, y, x) mm; an InputError if they are not known, as where the case has a fault."""
        if self.spacing is None:
            raise InputError(
                f"{self.name}: {self.fault or 'no spacing in its record: check the case again'}"
            )
        z, y, x = self.spacing
        return z, y, x


def write_checked(path: Path, cases: list[CheckedCase]) -> None:
    """Write what `read_checked` reads."""
    write_json(path, [_recorded(case) for case in cases])


def _recorded(case: CheckedCase) -> dict[str, Any]:
    entry = asdict(case) | {"labelled": case.labelled}
    paths = filter(None, (entry.pop("image"), entry.pop("label")))
    for path in sorted(paths, key=len, reverse=True):  # one may be the end of the other
        entry["fault"] = entry["fault"].replace(path, f"{case.name}/{Path(path).name}")
    return entry


def read_checked(path: Path) -> dict[str, CheckedCase]:
    """Read the record of a batch: name to `CheckedCase`, without the paths of files.

    Raises
    ------
    InputError
        If the record is missing or damaged.
    """
    try:
        cases = [_of_record(**entry) for entry in read_json(path)]
    except TypeError as error:
        raise InputError(
            f"{path}: damaged, or of an earlier version: delete it and run the workflow again"
        ) from error
    return {case.name: case for case in cases}


def _of_record(*, labelled: bool, **known: Any) -> CheckedCase:
    return CheckedCase(image="", label="" if labelled else None, **known)


def usable(paths: list[Path]) -> list[CheckedCase]:
    """The cases without a fault in the records of several batches, in order of name.

    Cases that are only to be segmented are left out where they have a fault.

    Raises
    ------
    InputError
        With all faults, if a labelled case has one: nothing is learned from what is left.
    """
    cases = [case for path in paths for case in read_checked(path).values()]
    refuse_labelled_faults(cases)
    return sorted((case for case in cases if not case.fault), key=lambda case: case.name)


def refuse_labelled_faults(cases: list[CheckedCase]) -> None:
    """Raise an InputError with all cases that cannot be used, if a labelled one is among them."""
    bad = [case.fault for case in cases if case.fault]
    if any(case.fault and case.labelled for case in cases):
        raise InputError(
            "\n".join(bad) + f"\n{len(bad)} of {len(cases)} cases cannot be used: mend them, "
            "or name them under data.exclude in config.yaml"
        )
