"""Scores of annotators among themselves, by every metric that methods are scored by."""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from renal.errors import InputError
from renal.evaluate.metrics import case_metrics
from renal.evaluate.scores import write_scores
from renal.handover.checked import CheckedCase
from renal.image.volume import Header, read_header, read_label
from renal.labels import KITS19, Labels, Region
from renal.parallel import for_each

OUTLINED = Labels(tissues={1: "outlined"}, regions=(Region(name="outlined", labels=(1,)),))


def score_annotators(
    cases: list[CheckedCase],
    readings_of: Callable[[Path], list[list[tuple[str, Path]]]],
    output: Path,
    *,
    check_place: Callable[[Header, Header], None],
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Score each pair of readings of a case and write a tidy CSV, one row a pair.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault; those with fewer than two readings are left out.
    readings_of : callable
        From a case's image to its readings: tissue and file of every instance, in the order in
        which they are painted over each other.
    output : Path
        CSV to write. Of a pair, `first` is scored as the prediction and `second` as the truth.
    check_place : callable
        Raises an InputError unless two headers describe the same voxels, in whatever axis order.
    labels : Labels
        What the label values mean. A tissue that has none counts as parenchyma.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If no case has two readings, or an outline cannot be read or lies elsewhere than its image.
    """
    work = partial(_score_case, readings_of=readings_of, check_place=check_place, labels=labels)
    rows = [row for case_rows in for_each(cases, work, threads) for row in case_rows]
    if not rows:
        raise InputError(
            f"{output}: no case was outlined twice: fetch kits23 with --parts instances"
        )
    write_scores(rows, output)


def _score_case(
    case: CheckedCase,
    readings_of: Callable[[Path], list[list[tuple[str, Path]]]],
    check_place: Callable[[Header, Header], None],
    labels: Labels,
) -> list[dict[str, Any]]:
    image = read_header(Path(case.image))
    maps = [painted(reading, image, check_place, labels) for reading in readings_of(image.path)]
    return [
        {
            "case": case.name,
            "first": first + 1,
            "second": second + 1,
            **case_metrics(maps[first], maps[second], case.spacing_mm, labels),
        }
        for first, second in combinations(range(len(maps)), 2)
    ]


def painted(
    reading: list[tuple[str, Path]],
    image: Header,
    check_place: Callable[[Header, Header], None],
    labels: Labels = KITS19,
) -> np.ndarray:
    """The label map of a reading, (z, y, x) uint8, as KiTS23's own labels are made of instances.

    Raises
    ------
    InputError
        If an outline cannot be read or lies elsewhere than the image.
    """
    label = np.zeros(image.shape, np.uint8, order="F")
    for tissue, path in reading:
        header = read_header(path)
        check_place(header, image)
        outline = read_label(header, OUTLINED)
        label[OUTLINED.regions[0].mask(outline)] = labels.value_of(tissue)
    return label
