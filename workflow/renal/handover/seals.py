"""Seals: the CRC-32 of every file that one step leaves for another.

A folder that a step wrote has its seal within it, in ``.seal.json``; a single file has it beside
it, in ``.<name>.seal.json``. The command line seals what a step wrote, and compares what the next
one is given before any of it is read, so that no format and no step knows of seals. What was cut
off, altered, emptied or put in another's place is told. Shape and dtype of arrays stand in their
headers, which the checksum covers like the rest.
"""

from pathlib import Path

from renal.errors import InputError
from renal.files import read_json, write_json
from renal.handover.checksums import checksum

SEAL = ".seal.json"


def write_seal(output: Path) -> None:
    """Seal a file, or all files of a folder but hidden ones."""
    files = visible_files(output) if output.is_dir() else [output]
    write_json(_seal_of(output), {path.name: checksum(path) for path in files})
    if output.is_dir():
        for path in files:  # of an earlier time, when somebody vouched for it alone
            _seal_of(path).unlink(missing_ok=True)


def check_seal(path: Path) -> None:
    """Compare a file, or all files of a folder, with their seal.

    A file without a seal of its own is compared with that of its folder.

    Raises
    ------
    InputError
        With the first file that is missing or is not as it was sealed, or if there is no seal.
    """
    if path.is_dir():
        folder, what = path, f"the folder {path}"
        sealed = sealed_in(path)
        names = list(sealed or [file.name for file in visible_files(path)])
    else:
        folder, what = path.parent, str(path)
        sealed = _read(_seal_of(path)) if _seal_of(path).exists() else sealed_in(folder)
        names = [path.name]
    if sealed is None:
        raise InputError(
            f"{path}: no seal, which tells whether it is as it was written: copy it with its "
            f"hidden files, delete {what} and run the workflow again, or vouch for it: "
            f"python -m renal seal --output {path}"
        )
    for name in names:
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: missing: delete {what} and run the workflow again")
        if checksum(file) != sealed.get(name):
            raise InputError(
                f"{file}: damaged or changed since it was written: keep elsewhere what was changed "
                f"on purpose, delete {what} and run the workflow again"
            )


def sealed_in(folder: Path) -> dict[str, str] | None:
    """Name of each file that was sealed in a folder to its CRC-32; None without a seal."""
    seal = folder / SEAL
    return _read(seal) if seal.exists() else None


def visible_files(folder: Path) -> list[Path]:
    """The files of a folder that are not hidden, in order of name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _seal_of(path: Path) -> Path:
    return path / SEAL if path.is_dir() else path.with_name(f".{path.name}{SEAL}")


def _read(seal: Path) -> dict[str, str]:
    found = read_json(seal)
    if not isinstance(found, dict):
        raise InputError(f"{seal}: damaged: delete it and run the workflow again")
    return found
