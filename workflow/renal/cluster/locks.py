"""Snakemake's locks, which say what other runs in the same folder read and write."""

from pathlib import Path


def in_use(results: Path) -> bool:
    """Whether another run, in the working folder, has to do with files of a results folder.

    Snakemake refuses a run beside such a one, but not before it has planned. What the jobs of the
    other read must not have changed by then.
    """
    try:
        locks = Path(".snakemake/locks").glob("*.lock")
        locked = {path for lock in locks for path in lock.read_text().splitlines()}
    except FileNotFoundError:  # that run has just ended
        return False
    return any(results.absolute() in Path(path).absolute().parents for path in locked)
