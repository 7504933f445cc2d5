"""The body's bounding box of each case."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from renal.files import write_json
from renal.handover.checked import CheckedCase
from renal.image.body import body_box
from renal.image.boxes import Box
from renal.image.volume import read_header, read_volume
from renal.parallel import for_each

if TYPE_CHECKING:
    from renal.image.settings import Body


def crop_body(
    cases: list[CheckedCase], settings: "Body", output: Path, *, threads: int = 1
) -> None:
    """Write the body's box of each case to a JSON file: name to ((z0, z1), (y0, y1), (x0, x1))."""
    boxes = for_each(cases, partial(_body_of, settings=settings), threads)
    write_json(output, {case.name: box for case, box in zip(cases, boxes, strict=True)})


def _body_of(case: CheckedCase, settings: "Body") -> Box:
    header = read_header(Path(case.image))
    return body_box(read_volume(header), header.spacing, settings)
