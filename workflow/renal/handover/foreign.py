"""Files that other programs left: which of them belong to a case."""

import os
from glob import escape, glob
from pathlib import Path


def files_of_case(folder: Path, pattern: str, case: str) -> list[Path]:
    """The files of a case.

    Parameters
    ----------
    folder : Path
        Where the pattern begins, unless it is a whole path.
    pattern : str
        A path in which {case} is the case's name and * stands for anything.
    case : str
        Case name.
    """
    named = pattern.replace("{case}", escape(case))
    return sorted(map(Path, glob(os.path.join(escape(str(folder)), named))))
