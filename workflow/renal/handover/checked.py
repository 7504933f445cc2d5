"""Records of checked cases: the only door to the data."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

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
        Paths; label is None for an unlabelled case. Files of records have them relative to the data
        folder, so that a folder that is moved changes no record, and none names an older one.
    shape : list of int
        (z, y, x) voxels of the image; None if its header could not be read.
    spacing : list of float
        (z, y, x) mm; None likewise.
    volumes_ml : dict of str to float
        Volume of each region by its name; empty for an unlabelled case.
    checksum : str
        CRC-32 of the image and label files, so that a changed file changes this record and
        with it all that is made from it.
    fault : str
        Why the case cannot be used, as one line; empty if it can.
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
    fault: str = ""
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


def write_checked(path: Path, cases: list[CheckedCase], data: Path) -> None:
    """Write what `read_checked` reads: of cases whose files lie in the folder `data`."""
    write_json(path, [asdict(_relative(case, data)) for case in cases])


def _relative(case: CheckedCase, data: Path) -> CheckedCase:
    image = str(Path(case.image).relative_to(data))
    label = None if case.label is None else str(Path(case.label).relative_to(data))
    return replace(case, image=image, label=label, fault=case.fault.replace(f"{data}/", ""))


def read_checked(path: Path, data: Path = Path()) -> dict[str, CheckedCase]:
    """Read the record of a batch: name to `CheckedCase`.

    Parameters
    ----------
    path : Path
        The record.
    data : Path
        The folder that the cases lie in, for those who read their files.

    Raises
    ------
    InputError
        If the record is missing or damaged, or names a data folder by itself, as earlier ones did.
    """
    try:
        cases = [CheckedCase(**entry) for entry in read_json(path)]
    except TypeError as error:
        raise InputError(
            f"{path}: damaged, no record of cases: delete it and run the workflow again"
        ) from error
    if any(Path(case.image).is_absolute() for case in cases):
        raise InputError(f"{path}: of an earlier version: delete it and run the workflow again")
    return {case.name: _within(case, data) for case in cases}


def _within(case: CheckedCase, data: Path) -> CheckedCase:
    label = None if case.label is None else str(data / case.label)
    return replace(case, image=str(data / case.image), label=label)


def usable(paths: list[Path], data: Path = Path()) -> list[CheckedCase]:
    """The cases without a fault in the records of several batches, in order of name.

    Cases that are only to be segmented are left out where they have a fault. `data` is as in
    `read_checked`.

    Raises
    ------
    InputError
        With all faults, if a labelled case has one: nothing is learned from what is left.
    """
    cases = [case for path in paths for case in read_checked(path, data).values()]
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
