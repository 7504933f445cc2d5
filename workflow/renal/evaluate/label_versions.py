"""One set of labels scored against another."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from renal.errors import InputError
from renal.evaluate.metrics import case_metrics
from renal.image.volume import Header, read_header, read_label
from renal.labels import Labels
from renal.parallel import for_each


def compare_labels(
    pairs: dict[str, tuple[Path, Path]],
    schemes: tuple[Labels, Labels],
    *,
    check_place: Callable[[Header, Header], None],
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Score the first label map of each case as if it were predicted and the second true.

    Parameters
    ----------
    pairs : dict
        Case to its two files.
    schemes : tuple of Labels
        What the values of the first and of the second mean. The regions that both have are scored,
        as the scheme has them that has fewer.
    check_place : callable
        Raises an InputError unless two headers describe the same voxels, in whatever axis order.
    threads : int
        Cases at a time.

    Returns
    -------
    list of dict
        A row for each case: its name and metrics.

    Raises
    ------
    InputError
        If the schemes have no regions in common, a file cannot be read, or two lie elsewhere.
    """
    target = shared_scheme(*schemes)
    work = partial(_score_case, schemes=schemes, target=target, check_place=check_place)
    return for_each(list(pairs.items()), work, threads)


def shared_scheme(first: Labels, second: Labels) -> Labels:
    """The scheme of which the other one has all regions, if there is one."""
    for scheme, other in ((second, first), (first, second)):
        if set(scheme.names) <= set(other.names):
            return scheme
    raise InputError(
        f"--labels: one has {', '.join(first.names)}, the other {', '.join(second.names)}: choose "
        "schemes of which one has all regions of the other"
    )


def _score_case(
    pair: tuple[str, tuple[Path, Path]],
    schemes: tuple[Labels, Labels],
    target: Labels,
    check_place: Callable[[Header, Header], None],
) -> dict[str, Any]:
    name, paths = pair
    first, second = (read_header(path) for path in paths)
    check_place(first, second)
    scored, against = (
        in_scheme(read_label(header, scheme), scheme, target)
        for header, scheme in zip((first, second), schemes, strict=True)
    )
    return {"case": name, **case_metrics(scored, against, second.spacing, target)}


def in_scheme(label: np.ndarray, own: Labels, target: Labels) -> np.ndarray:
    """A label map, (z, y, x) uint8, with the values that a scheme of fewer regions has."""
    if own == target:
        return label
    return target.paint({name: own.region(name).mask(label) for name in target.names})
