"""The steps that write tables, pictures and the page: from arguments to the work to do."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renal.report.settings import Row

Arguments = argparse.Namespace
Work = Callable[[], object]


def write_tables(a: Arguments) -> Work:
    """Write the cross-validation tables."""
    from renal.report.tables import write_tables

    methods = _rows(a)
    return partial(write_tables, a.scores, methods, a.output, a.labels, a.annotators)


def write_test_tables(a: Arguments) -> Work:
    """Write the tables of the test set."""
    from renal.report.tables_of_tests import write_test_tables

    methods = _rows(a)
    return partial(write_test_tables, a.scores, methods, a.output, a.labels, a.annotators)


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


def write_page(a: Arguments) -> Work:
    """Write the page to look at: tables, pictures and cases to scroll through."""
    from renal.handover.case_files import usable_with_files
    from renal.handover.named_paths import of_all
    from renal.report.page import write_page

    methods = _rows(a)

    def work() -> None:
        scores = of_all("--scores", dict(a.scores), methods)
        segmentations = of_all("--segmentations", dict(a.segmentations), methods)
        cases = {case.name: case for case in usable_with_files(a.checked, a.files)}
        write_page(scores, segmentations, cases, methods, a.tables, a.pictures, a.output, a.labels)

    return work


def _rows(a: Arguments) -> dict[str, "Row"]:
    """The rows by their names, from a step's settings."""
    from pydantic import RootModel

    from renal.report.settings import Row

    return RootModel[dict[str, Row]].model_validate_json(a.settings).root
