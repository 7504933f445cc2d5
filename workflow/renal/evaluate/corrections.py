"""What people changed among a method's segmentations."""

import logging
from pathlib import Path

from renal.errors import InputError
from renal.files import read_json, replacing, write_json
from renal.handover.checksums import checksum
from renal.handover.seals import sealed_in, visible_files

log = logging.getLogger(__name__)

COLLECTED = ".collected.json"  # no output of a rule: Snakemake deletes those before each attempt


def set_aside(segmentations: Path, predicted: list[Path], corrected: Path) -> None:
    """Empty a folder of collected segmentations; what people saved there is kept elsewhere.

    Parameters
    ----------
    segmentations : Path
        The folder, which may not be there yet.
    predicted : list of Path
        Sealed folders that the segmentations will be collected from. Their checksums are noted
        in the folder, for the next time.
    corrected : Path
        Folder for what is neither as it was collected nor as it was predicted. An earlier file
        of the same name there is kept under one that has its checksum.

    Raises
    ------
    InputError
        If the note of earlier checksums cannot be read or is none.
    """
    noted = segmentations / COLLECTED
    before = read_json(noted) if noted.exists() else {}
    if not isinstance(before, dict):
        raise InputError(f"{noted}: no checksums by file: delete it and run the workflow again")
    after: dict[str, str] = {}
    for folder in predicted:
        after |= sealed_in(folder) or {}
    for path in visible_files(segmentations) if segmentations.is_dir() else []:
        if checksum(path) not in (before.get(path.name), after.get(path.name)):
            _keep(path, corrected / path.name)
            log.warning("%s: changed by hand: kept as %s", path, corrected / path.name)
        path.unlink()
    write_json(noted, after)


def _keep(path: Path, kept: Path) -> None:
    if kept.exists() and checksum(kept) != checksum(path):
        name, dot, endings = kept.name.partition(".")
        kept.rename(kept.with_name(f"{name}-{checksum(kept)}{dot}{endings}"))
    with replacing(kept) as temporary:
        temporary.write_bytes(path.read_bytes())
