"""Tables of labels and regions: what a label value is, and which regions are scored.

A region is a set of label values. Regions are nested: each lies within the ones before it that hold
all of its label values. "Kidney" is everywhere what the official metric calls kidney, the kidney
with its tumours and cysts; what is left of it without them is its parenchyma.

Code that works on regions takes the table as an argument, whose default is `KITS19`, and spells no
label value itself. Another one is chosen in config.yaml and reaches a step as `--labels`.

References
----------
N. Heller et al., KiTS19 evaluation script, ``starter_code/evaluation.py`` in
https://github.com/neheller/kits19
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Code:
    """A coded concept as DICOM writes it: coding scheme, value and meaning."""

    scheme: str
    value: str
    meaning: str


ANATOMY = Code("SCT", "91723000", "Anatomical structure")
LESION = Code("SCT", "49755003", "Morphologically abnormal structure")


@dataclass(frozen=True)
class Region:
    """What is learned, scored and drawn as one.

    Attributes
    ----------
    name : str
        Of a network's map, and of columns of the scores.
    labels : tuple of int
        The label values it is made of.
    title : str
        For tables.
    colour : str
        For pictures, #rrggbb.
    tolerance_mm : float
        Of surface Dice.
    category, type : Code
        Published codes of the segmented property (SNOMED CT), for what lies in no region within.
    lesion : bool
        Whether it is found or missed as a whole, which the scores then say.
    """

    name: str
    labels: tuple[int, ...]
    title: str = ""
    colour: str = "#888888"
    tolerance_mm: float = 1.0
    category: Code = LESION
    type: Code = LESION
    lesion: bool = False

    def mask(self, label: Any) -> Any:
        """Where a label map, array or tensor, shows the region: bool of the same shape."""
        return reduce(or_, (label == value for value in self.labels))


@dataclass(frozen=True)
class Labels:
    """A scheme of labels.

    Attributes
    ----------
    tissues : mapping of int to str
        What each label value is, 0 left out.
    regions : tuple of Region
        Larger ones before those that lie within them; the first holds all label values.
    name : str
        Of the published scheme, whose figures tables quote; empty for any other.
    """

    tissues: Mapping[int, str]
    regions: tuple[Region, ...]
    name: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.regions))

    @property
    def count(self) -> int:
        """How many label values there are, 0 for the background included."""
        return max(self.tissues) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(region.name for region in self.regions)

    @property
    def legend(self) -> str:
        """What the label values are, for messages."""
        parts = [f"{value} {tissue}" for value, tissue in sorted(self.tissues.items())]
        return ", ".join(["0 background", *parts[:-1]]) + f" and {parts[-1]}"

    def value_of(self, tissue: str) -> int:
        """The label value of a tissue; what has none, as cysts in KiTS19, counts as parenchyma."""
        values = {name: value for value, name in self.tissues.items()}
        return values.get(tissue, self.own_value(self.regions[0]))

    def region(self, name: str) -> Region:
        """The region of a name."""
        return {region.name: region for region in self.regions}[name]

    def outer(self, region: Region, among: Container[str] | None = None) -> Region | None:
        """The smallest region, of all or `among` some, that a region lies within; else None."""
        before = self.regions[: self.regions.index(region)]
        around = [r for r in before if set(region.labels) <= set(r.labels)]
        if among is not None:
            around = [r for r in around if r.name in among]
        return min(around, key=lambda other: len(other.labels)) if around else None

    def classes(self, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        """Label values of each of some regions that lie in none of the others within it."""
        regions = [region for region in self.regions if region.name in names]
        return {
            region.name: tuple(
                value
                for value in region.labels
                if not any(value in r.labels for r in regions if set(r.labels) < set(region.labels))
            )
            for region in regions
        }

    def innermost(self, value: int) -> Region:
        """The smallest region that a label value lies in."""
        return min((r for r in self.regions if value in r.labels), key=lambda r: len(r.labels))

    def own_value(self, region: Region) -> int:
        """The label value of a region's voxels that lie in no region within it.

        Raises
        ------
        ValueError
            If there is not one such value, as where other regions cover it wholly: then a map of
            it is no part of a label map.
        """
        own = self.classes(self.names)[region.name]
        if len(own) != 1:
            raise ValueError(f"region {region.name} has label values {sorted(own)} of its own")
        return own[0]

    def paint(self, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        """One label map from masks of regions, each cut by those that it lies within.

        For kidney and tumour: tumour = kidney AND tumour, parenchyma = kidney without tumour (Hao
        2019, equations 3 and 4).

        Parameters
        ----------
        masks : mapping of str to numpy.ndarray
            (z, y, x) bool by name of region; the first region must be among them. A region without
            a mask is not looked for.

        Returns
        -------
        numpy.ndarray
            (z, y, x) uint8.
        """
        label = np.zeros_like(masks[self.regions[0].name], np.uint8)
        cut: dict[str, np.ndarray] = {}
        for region in self.regions:
            if region.name in masks:
                mask, outer = masks[region.name], self.outer(region, cut)
                cut[region.name] = mask if outer is None else mask & cut[outer.name]
                label[cut[region.name]] = self.own_value(region)
        return label


KITS19 = Labels(
    tissues={1: "parenchyma", 2: "tumour"},
    regions=(
        Region(
            name="kidney",
            labels=(1, 2),
            title="Kidney",
            colour="#2ca9ff",
            # The tolerance of the TotalSegmentator evaluation (its issue 143), about the slice
            # thickness of many KiTS19 cases. KiTS21 and KiTS23 use 1.03 mm and 1.15 mm, from the
            # disagreement of their own annotators.
            tolerance_mm=3.0,
            category=ANATOMY,
            type=Code("SCT", "64033007", "Kidney"),
        ),
        Region(
            name="tumour",
            labels=(2,),
            title="Tumour",
            colour="#ff5a36",
            tolerance_mm=3.0,
            category=LESION,
            type=Code("SCT", "108369006", "Neoplasm"),
            lesion=True,
        ),
    ),
    name="kits19",
)
