"""The steps that draw: from arguments to the work to do, as in `renal.steps`."""

import argparse
from collections.abc import Callable
from functools import partial

Arguments = argparse.Namespace
Work = Callable[[], object]


def draw_comparison(a: Arguments) -> Work:
    """Draw the comparison of rows."""
    from renal.report.comparison_pictures import draw_comparison

    return partial(draw_comparison, a.tables, a.listed, a.output, a.labels)


def draw_overlays(a: Arguments) -> Work:
    """Draw the best, median and worst case."""
    from renal.handover.case_files import usable_with_files
    from renal.report.overlays import draw_overlays

    def work() -> None:
        cases = {case.name: case for case in usable_with_files(a.checked, a.files)}
        draw_overlays(a.scores, a.segmentations, cases, a.output, a.labels)

    return work


def draw_gallery(a: Arguments) -> Work:
    """Draw the worst cases as all rows see them."""
    from renal.handover.case_files import usable_with_files
    from renal.report.gallery import draw_gallery

    def work() -> None:
        cases = {case.name: case for case in usable_with_files(a.checked, a.files)}
        draw_gallery(dict(a.scores), dict(a.segmentations), cases, a.output, a.labels)

    return work


def draw_curves(a: Arguments) -> Work:
    """Draw the training curves of a stage."""
    from renal.report.curves import draw_curves

    histories = {path.parent.name: path for path in a.histories}
    return partial(draw_curves, histories, a.name, a.output)


def draw_located(a: Arguments) -> Work:
    """Draw how much of kidney and tumour the located regions hold."""
    from renal.report.located import draw_located

    return partial(draw_located, a.scores, a.name, a.output, a.labels)
