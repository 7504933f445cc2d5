"""What people changed among a method's segmentations."""

import logging
from pathlib import Path

from renal.files import replacing
from renal.handover.seals import checksum, sealed_in, visible_files

log = logging.getLogger(__name__)


def set_aside(segmentations: Path, predicted: list[Path], corrected: Path) -> None:
    """Empty a folder of collected segmentations; what people saved there is kept elsewhere.

    Parameters
    ----------
    segmentations : Path
        The folder, which may not be there yet.
    predicted : list of Path
        Sealed folders that the segmentations are collected from.
    corrected : Path
        Folder for what is neither as it was collected nor as it was predicted. An earlier file
        of the same name there is kept under one that has its checksum.
    """
    if not segmentations.is_dir():
        return
    # Both, because a collecting that was stopped has not been sealed.
    sealed = [sealed_in(folder) or {} for folder in (segmentations, *predicted)]
    for path in visible_files(segmentations):
        found = checksum(path)
        if all(written.get(path.name) != found for written in sealed):
            _keep(path, corrected / path.name)
            log.warning("%s: changed by hand: kept as %s", path, corrected / path.name)
        path.unlink()


def _keep(path: Path, kept: Path) -> None:
    if kept.exists() and checksum(kept) != checksum(path):
        name, dot, endings = kept.name.partition(".")
        kept.rename(kept.with_name(f"{name}-{checksum(kept)}{dot}{endings}"))
    with replacing(kept) as temporary:
        temporary.write_bytes(path.read_bytes())
