"""A procedural abdominal CT with kidneys, tumours and their true labels.

The solids of one patient's anatomy are painted one over the other. A voxel takes as much of a
solid as the solid covers of it, which gives the soft edges (partial volume) of a scanner; thick
slices average thinner ones.
"""

import math
from bisect import bisect_left
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from renal.data.anatomy import SPINE_Y, Field, Patient, Points, Solid, anatomy
from renal.data.cases import IMAGE, LABEL
from renal.files import read_json, write_json
from renal.image.volume import read_header, write_nifti
from renal.labels import KITS19, Labels


@dataclass(frozen=True)
class Phantom:
    """An image in HU, its label (both (z, y, x)) and the voxel spacing (z, y, x) in mm."""

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]


def lesion_values(labels: Labels) -> list[int]:
    """The label values of what lies within the parenchyma."""
    return sorted(set(labels.tissues) - {labels.own_value(labels.regions[0])})


def paint(
    solids: list[Solid], texture: Field, points: Points, edge: float, labels: Labels
) -> np.ndarray:
    """HU, share of all that is labelled and share of each lesion's label at the points.

    (2 + lesions, z, y, x) float32.
    """
    shape = tuple(coordinate.size for coordinate in points)
    lesions = lesion_values(labels)
    canvas = np.zeros((2 + len(lesions), *shape), np.float32)
    canvas[0] = -1000
    grain = texture(points)
    flat = [coordinate.ravel() for coordinate in points]
    # bisect finds one value sooner than numpy does
    sorted_values = [values.tolist() for values in flat]
    for solid in solids:
        window = tuple(
            slice(bisect_left(values, middle - reach), bisect_left(values, middle + reach))
            for values, middle, reach in zip(sorted_values, solid.centre, solid.reach, strict=True)
        )
        if any(part.start == part.stop for part in window):
            continue
        z, y, x = (values[part] for values, part in zip(flat, window, strict=True))
        distance = solid.distance([z[:, None, None], y[None, :, None], x[None, None, :]])
        cover = np.clip(0.5 - distance / edge, 0, 1)
        hu, foreground, *shares = canvas[:, *window]
        hu += cover * (solid.hu + solid.grain * grain[window] - hu)
        if solid.tissue:
            foreground += cover * (1 - foreground)
            for value, share in zip(lesions, shares, strict=True):
                share += cover * ((labels.value_of(solid.tissue) == value) - share)
    return canvas


def scan(
    solids: list[Solid], texture: Field, points: Points, thin: int, edge: float, labels: Labels
) -> tuple[np.ndarray, np.ndarray]:
    """Image (float32, HU) and label (uint8) with one slice for every `thin` levels of z."""
    z, y, x = points
    shape = (z.size // thin, y.size, x.size)
    image, label = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    for first in range(0, len(image), 8):  # a slab at a time fits the processor's cache
        slab = slice(first, min(first + 8, len(image)))
        levels = z[slab.start * thin : slab.stop * thin]
        canvas = paint(solids, texture, (levels, y, x), edge, labels)
        hu, foreground, *shares = canvas.reshape(len(canvas), -1, thin, *shape[1:]).mean(2)
        image[slab] = hu
        label[slab] = labels.own_value(labels.regions[0])
        for value, share in zip(lesion_values(labels), shares, strict=True):
            label[slab][2 * share >= foreground] = value
        label[slab][foreground < 0.5] = 0
    return image, label


def phantom_case(
    seed: int,
    *,
    size: int = 192,
    slices_mm: tuple[float, float] = (2.5, 5.0),
    tumours: int | None = None,
    kidneys: int | None = None,
    cysts: int | None = None,
    labels: Labels = KITS19,
) -> Phantom:
    """Make one abdominal CT with its label.

    Parameters
    ----------
    seed : int
        The same seed gives the same arrays.
    size : int
        Rows and columns of a slice.
    slices_mm : (float, float)
        Least and greatest slice spacing in mm; the covered length is 170 to 235 mm.
    tumours, kidneys : int, optional
        How many; drawn if not given (0 or 2 tumours, or 1 kidney, are rare).
    cysts : int, optional
        How many of 14 to 26 mm radius, as far as there is room; if not given, few of 5 to 22 mm.
    labels : Labels
        The scheme of the label.

    Returns
    -------
    Phantom
        `image` (z, y, x) int16 in HU and `label` (z, y, x) uint8, in which the fat of the sinus
        is background. Axes run towards patient
        Inferior, Posterior and Left; `spacing` is (z, y, x) in mm.

    Raises
    ------
    ValueError
        If `kidneys` is not 1 or 2, or `tumours` not 0 to 2, or `size` is less than 32.
    """
    if kidneys not in (None, 1, 2) or tumours not in (None, 0, 1, 2) or size < 32:
        raise ValueError(f"cannot make {kidneys} kidneys, {tumours} tumours at size {size}")
    rng = np.random.default_rng(seed)
    if kidneys is None:
        kidneys = int(rng.choice([1, 2], p=[0.08, 0.92]))
    if tumours is None:
        tumours = int(rng.choice([0, 1, 2], p=[0.08, 0.82, 0.1]))
    patient = Patient(rng)
    solids = anatomy(patient, rng, tumours, kidneys, cysts)

    thickness = float(np.clip(round(4 * rng.uniform(*slices_mm)) / 4, *slices_mm))
    top, bottom = -rng.uniform(88, 120), rng.uniform(85, 115)
    width = 2 * (patient.half_width * 1.05 + patient.wall + patient.fat) + rng.uniform(15, 55)
    pixel = round(width / size * 1024) / 1024  # a float32 holds it exactly
    middle = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(pixel)
    thin = math.ceil(thickness / 2.6)
    slices = int((bottom - top) / thickness)
    levels = np.arange(slices * thin, dtype=np.float32)[:, None, None] + 0.5
    z = top + levels * np.float32(thickness / thin)
    y = middle[None, :, None] + (SPINE_Y + 66 - patient.front) / 2
    x = middle[None, None, :] + rng.uniform(-6, 6)
    image, label = scan(solids, patient.texture, (z, y, x), thin, max(pixel, 1.4), labels)
    blur = rng.uniform(0.5, 0.8)
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape, np.float32), (0, blur, blur))
    image += noise * float(rng.uniform(10, 20) / noise[0].std())
    image[:, np.hypot(middle[:, None], middle) > size * pixel / 2] = -1024
    image = np.rint(np.clip(image, -1024, 3000)).astype(np.int16)
    return Phantom(image, label, (thickness, pixel, pixel))


def write_case(
    folder: Path, seed: int, size: int, labelled: int, labels: Labels, number: int
) -> dict[str, Any]:
    """Write one case, unless its files are there, and return its entry for `kits.json`."""
    name = f"case_{number:05d}"
    image, label = folder / name / IMAGE, folder / name / LABEL
    if not (image.exists() and (label.exists() or number >= labelled)):
        # Rare kinds come by turns, not by chance: a small folder, too, has one of each.
        tumours = {3: 2, 12: 2, 8: 0}.get(number % 17, 1)
        cysts = 2 if "cyst" in labels.tissues.values() else None
        case_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        phantom = phantom_case(
            case_seed,
            size=size,
            tumours=tumours,
            kidneys=1 if number % 12 == 5 else 2,
            cysts=cysts,
            labels=labels,
        )
        affine = np.zeros((4, 4))
        affine[[2, 1, 0, 3], [0, 1, 2, 3]] = *(-s for s in phantom.spacing), 1
        if number < labelled:
            write_nifti(label, phantom.label, affine)
        write_nifti(image, phantom.image, affine)
    keys = ("z_spacing", "y_spacing", "x_spacing")
    spacing = dict(zip(keys, read_header(image).spacing, strict=True))
    return {"case_id": name, "voxel_spacing": spacing}


def write_phantom(
    folder: Path,
    *,
    labelled: int,
    unlabelled: int,
    seed: int = 0,
    size: int = 192,
    labels: Labels = KITS19,
    processes: int = 1,
) -> list[str]:
    """Write a folder of phantoms in the layout of KiTS19, `kits.json` included.

    Parameters
    ----------
    folder : Path
        Made if missing; a case whose files are already there is left as it is.
    labelled, unlabelled : int
        Numbers of cases; the unlabelled ones (no segmentation) have the highest ids.
    seed, size : int
        Case k depends on the seed, its number k, the size (rows and columns) and whether `labels`
        has cysts.
    labels : Labels
        The scheme of the labels. Where it has cysts, each case has two that can be learned, as far
        as there is room; where it has none, cysts are few and parenchyma.
    processes : int
        How many cases are made at the same time.

    Returns
    -------
    list of str
        The case ids, in order.

    Raises
    ------
    ValueError
        If `size` is less than 32.
    InputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(write_case, folder, seed, size, labelled, labels)
    numbers = range(labelled + unlabelled)
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            entries = list(pool.map(write, numbers))
    else:
        entries = [write(number) for number in numbers]
    listing = folder / "kits.json"
    if not listing.exists() or read_json(listing) != entries:
        write_json(listing, entries)
    return [entry["case_id"] for entry in entries]
