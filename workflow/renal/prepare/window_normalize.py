"""Whole volumes as a network sees them."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from renal.files import read_array, write_array
from renal.handover.prepared import PreparedCase, image_file, label_file, read_index, write_index
from renal.parallel import for_each
from renal.prepare.intensity import normalize

if TYPE_CHECKING:
    from renal.prepare.settings import Intensity


def window_normalize(
    source: Path, settings: "Intensity", output: Path, *, threads: int = 1
) -> None:
    """Turn resampled images (int16 HU) into what the network sees (float16).

    Labels are linked, not copied, so that the folder holds all that training reads.
    """
    cases = list(read_index(source).values())
    work = partial(_normalize_case, source=source, settings=settings, output=output)
    for_each(cases, work, threads)
    write_index(output, cases)


def _normalize_case(case: PreparedCase, source: Path, settings: "Intensity", output: Path) -> None:
    image = read_array(image_file(source, case.name, 0))
    write_array(image_file(output, case.name, 0), normalize(image, settings))
    label = label_file(source, case.name, 0)
    if label.exists():
        link = label_file(output, case.name, 0)
        link.unlink(missing_ok=True)
        try:
            os.link(label, link)
        except OSError:  # exFAT and some network folders have no hard links
            write_array(link, read_array(label))
