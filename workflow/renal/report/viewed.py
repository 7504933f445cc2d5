"""A case as a page shows it: its CT in pieces of a picture, and outlines as paths."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contourpy import contour_generator
from PIL import Image

from renal.handover.checked import CheckedCase
from renal.handover.segmentations import segmentation_of
from renal.image.boxes import Box, bounding_box, joined, slices, three, whole_volume, widened
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19, Labels
from renal.parallel import telling_of_memory
from renal.report.overlays import WINDOW_HU

TRUTH = "-truth"  # among names of rows, none of which has such a one
MARGIN_MM = (10.0, 25.0, 25.0)  # round what any row marked
LARGEST = 256  # pixels of a slice along its longer side
MOST_SLICES = 96
SLICE_MM = 2.5  # thinner slices are passed over
UNITS = 4  # of outlines, in a pixel
QUALITY = 82  # of JPEG


@dataclass(frozen=True)
class Segmented:
    """A case with its truth and what each row made of it, within a box round all of that.

    Attributes
    ----------
    image : numpy.ndarray
        (z, y, x) int16, HU, in the box.
    marked : dict of str to tuple
        `TRUTH` and rows to the bounding box of what they mark, in voxels of the CT, and the
        label map in it, (z, y, x) uint8: whole maps of thirty rows would not fit in memory.
    spacing : tuple of float
        (z, y, x) mm.
    box : Box
        What any of the maps marks, with a margin.
    """

    image: np.ndarray
    marked: dict[str, tuple[Box, np.ndarray]]
    spacing: tuple[float, float, float]
    box: Box

    def label(self, name: str) -> np.ndarray:
        """The label map of the truth or a row in the box, (z, y, x) uint8."""
        whole = np.zeros(self.image.shape, np.uint8)
        own, label = self.marked[name]
        place = three(
            (low - start, high - start)
            for (low, high), (start, _) in zip(own, self.box, strict=True)
        )
        whole[slices(place)] = label
        return whole


def read_segmented(
    case: CheckedCase, segmentations: Mapping[str, Path], labels: Labels = KITS19
) -> Segmented:
    """Read a case, its truth and the rows' segmentations of it.

    Parameters
    ----------
    case : CheckedCase
        A labelled case.
    segmentations : mapping of str to Path
        Row to its folder of ``<case>.nii.gz``.
    labels : Labels
        The regions.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    with telling_of_memory(case.name, "use a larger machine"):
        return _read(case, segmentations, labels)


def _read(case: CheckedCase, segmentations: Mapping[str, Path], labels: Labels) -> Segmented:
    header = read_header(Path(case.image))
    paths = {row: segmentation_of(folder, case.name) for row, folder in segmentations.items()}
    marked = {}
    for name, path in ({TRUTH: case.label_path} | paths).items():
        label = read_label(read_header(path), labels)
        own = bounding_box(label > 0)
        if own is not None or name == TRUTH:
            own = own or whole_volume(header.shape)
            marked[name] = own, label[slices(own)].copy()
    margins = [round(mm / step) for mm, step in zip(MARGIN_MM, case.spacing_mm, strict=True)]
    box = widened(joined([own for own, _ in marked.values()]), margins, header.shape)
    nothing = three((start, start) for start, _ in box), np.zeros((0, 0, 0), np.uint8)
    everyone = {name: marked.get(name, nothing) for name in (TRUTH, *segmentations)}
    return Segmented(read_volume(header)[slices(box)].copy(), everyone, case.spacing_mm, box)


def viewed(found: Segmented, labels: Labels = KITS19) -> dict[str, object]:
    """What the page's script draws, fit for JSON.

    Returns
    -------
    dict
        ``width`` and ``height`` of a slice in square pixels; ``slices``, their numbers in the CT,
        from 1; ``columns`` of slices in ``sheet``, a data URL; ``units`` of outlines in a pixel;
        ``outlines``, by map and region a list of paths as SVG has them, one for each slice.
    """
    depth, *sides = found.image.shape
    _, *spacing = found.spacing
    extents = [step * length for step, length in zip(spacing, sides, strict=True)]
    pixel = max(max(extents) / LARGEST, min(spacing))
    height, width = (max(1, round(extent / pixel)) for extent in extents)
    scale = (width / sides[1], height / sides[0])
    chosen = _chosen(depth, found.spacing[0])
    outlines = {}
    for name in found.marked:
        label = found.label(name)
        masks = {region.name: region.mask(label) for region in labels.regions}
        outlines[name] = {
            region: [_outlines(mask[z], scale) for z in chosen]
            for region, mask in masks.items()
            if mask.any()
        }
    columns = math.ceil(math.sqrt(len(chosen)))
    return {
        "width": width,
        "height": height,
        "slices": [found.box[0][0] + z + 1 for z in chosen],
        "columns": columns,
        "units": UNITS,
        "sheet": _sheet(found.image[chosen], (width, height), columns),
        "outlines": outlines,
    }


def _chosen(depth: int, spacing: float) -> list[int]:
    """The slices that are shown: all, but of thin or many ones each second, third and so on."""
    step = max(1, int(SLICE_MM / spacing + 1e-6), math.ceil(depth / MOST_SLICES))
    return list(range(0, depth, step))


def _sheet(image: np.ndarray, size: tuple[int, int], columns: int) -> str:
    """The slices of (z, y, x) HU beside and below each other in one JPEG, as a data URL."""
    width, height = size
    low, high = WINDOW_HU
    sheet = Image.new("L", (columns * width, math.ceil(len(image) / columns) * height))
    for number, hu in enumerate(image):
        grey = np.rint(np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255)
        tile = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BOX)
        sheet.paste(tile, (number % columns * width, number // columns * height))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _outlines(mask: np.ndarray, scale: tuple[float, float]) -> str:
    """The outlines of a (y, x) bool mask as an SVG path, in `UNITS` of a pixel of the page.

    They run half-way between voxels inside and outside (marching squares).
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return ""
    top, left = rows[0], columns[0]
    # A border of nothing closes what touches the edge.
    inner = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    paths = []
    for line in contour_generator(z=inner).lines(0.5):
        # Voxel 0 of `inner` is centred half a voxel before what is left and top of the mask.
        points = (np.asarray(line)[:-1] + np.array([left - 0.5, top - 0.5])) * scale
        paths.append(_path(np.rint(points * UNITS).astype(int)))
    return "".join(paths)


def _path(points: np.ndarray) -> str:
    """A closed path through (x, y) points, those on straight lines left out."""
    before, after = (np.roll(points, shift, axis=0) for shift in (1, -1))
    points = points[(points != before).any(axis=1)]
    before, after = (np.roll(points, shift, axis=0) for shift in (1, -1))
    into, out = (points - before).T, (after - points).T
    bends = points[(into[0] * out[1] != into[1] * out[0]) | ((into * out).sum(axis=0) < 0)]
    if not len(bends):
        return ""
    x, y = bends[0]
    steps = " ".join(f"{dx} {dy}" for dx, dy in np.diff(bends, axis=0))
    return f"M{x} {y}l{steps.replace(' -', '-')}z"
