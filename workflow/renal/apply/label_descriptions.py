"""Names and colours of label values as Slicer and ITK-SNAP read them."""

from collections.abc import Mapping
from pathlib import Path

from renal.files import write_text
from renal.labels import KITS19, Labels

SLICER, ITK_SNAP = "slicer.ctbl", "itksnap.txt"
ITK_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


def write_label_descriptions(folder: Path, labels: Labels = KITS19) -> None:
    """Write ``slicer.ctbl``, a colour table, and ``itksnap.txt``, label descriptions.

    Parameters
    ----------
    folder : Path
        Where to.
    labels : Labels
        The label values; each has the colour of the smallest region that it lies in.
    """
    colours = {value: _rgb(labels.innermost(value).colour) for value in labels.tissues}
    names = dict(sorted(labels.tissues.items()))
    write_text(folder / SLICER, _slicer(names, colours))
    write_text(folder / ITK_SNAP, _itk_snap(names, colours))


Colours = Mapping[int, tuple[int, int, int]]


def _slicer(names: Mapping[int, str], colours: Colours) -> str:
    lines = ["# Color table of renal", "0 background 0 0 0 0"]
    lines += [
        f"{value} {name.replace(' ', '_')} {red} {green} {blue} 255"
        for value, name in names.items()
        for red, green, blue in [colours[value]]
    ]
    return "\n".join(lines) + "\n"


def _itk_snap(names: Mapping[int, str], colours: Colours) -> str:
    lines = [
        f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"'
        for value, name in names.items()
        for red, green, blue in [colours[value]]
    ]
    return ITK_SNAP_HEAD + "\n".join(lines) + "\n"


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue
