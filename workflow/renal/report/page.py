"""One page to look at, opened from disk: sortable tables, pictures and cases to scroll through.

`page.html` is its template, `page.css` its style and `page.js` what sorts, scrolls and switches.
"""

import base64
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from renal.errors import InputError
from renal.files import write_text
from renal.handover.checked import CheckedCase
from renal.handover.tables import read_table
from renal.labels import KITS19, Labels
from renal.report.comparison import NOTES as COMPARED
from renal.report.comparison import comparison_forms, read_comparison
from renal.report.ranked import RANKS, columns_of, composites, mean_of_rows, ranked_cases
from renal.report.tables import COLUMNS, forms, notes, notes_on_others
from renal.report.viewed import TRUTH, read_segmented, viewed

if TYPE_CHECKING:
    from renal.report.settings import Row

log = logging.getLogger(__name__)

MOST_BYTES = 29_000_000  # of the page, so that browsers open it and people mail it
MOST_CASES = 12
# Okabe and Ito's colours that stand out on black; yellow in place of blue.
BRIGHT = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 2, 2, 2), (1, 4))
# What the pictures of the comparison show, for those who see them and those who do not.
SHOWN = {
    "compare_values": "Every case of every row, with box and median",
    "compare_tests": "Which row is better than which",
    "compare_places": "Places by three ways to rank, with intervals",
    "compare_blobs": "How sure the places are: shares of bootstrap samples",
    "compare_scatter": "The first row against the others, worst cases named",
    "compare_size": "Dice against volume and slice thickness",
    "compare_worst": "The worst cases as all rows see them",
    "located": "What the located regions hold",
}

Scores = dict[str, pd.DataFrame]


def write_page(
    scores: dict[str, Path],
    segmentations: dict[str, Path],
    cases: dict[str, CheckedCase],
    methods: dict[str, "Row"],
    tables: Path,
    pictures: list[Path],
    output: Path,
    labels: Labels = KITS19,
) -> None:
    """Write index.html, which needs no other file.

    Parameters
    ----------
    scores : dict
        Row to its scores.csv.
    segmentations : dict
        Row to its folder of ``<case>.nii.gz``.
    cases : dict
        Name to `CheckedCase`.
    methods : dict
        Row to its recipe.
    tables : Path
        Folder of cv.csv and, of several rows, of what `compare` wrote.
    pictures : list of Path
        PNG files to show.
    output : Path
        The page.
    labels : Labels
        The regions that were scored.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    scored = {row: read_table(scores[row], columns_of(labels)) for row in methods}
    cv = read_table(tables / "cv.csv", COLUMNS)
    below = [notes(cv, methods, labels)]
    if len(methods) > 1:
        below.append(COMPARED + notes_on_others(methods))
    values: dict[str, Any] = {
        "rows": list(methods),
        "tables": _tables(cv, tables, methods, labels),
        "notes": below,
        "pictures": [_picture(path, output.parent) for path in pictures],
        "cases": _case_table(scored, labels),
    }
    viewer = _legend(methods, labels)
    spent = len(_page(viewer=viewer, **values).encode())
    if spent > MOST_BYTES:
        log.warning(
            "%s: %.0f MB of tables and pictures alone, %.0f are meant to be the most: "
            "name fewer methods in config.yaml",
            *(output, spent / 1e6, MOST_BYTES / 1e6),
        )
    chosen = _chosen(scored, labels)
    for name, why in chosen.items():
        if name not in cases:
            raise InputError(
                f"{name}: is not among the checked cases: delete the scores and run the workflow "
                "again"
            )
        entry = viewed(read_segmented(cases[name], segmentations, labels), labels)
        entry |= {"name": name, "why": why, "dice": _dices(scored, name, labels)}
        size = len(htmlsafe_json_dumps(entry))
        if spent + size <= MOST_BYTES:
            viewer["cases"].append(entry)
            spent += size
    if len(viewer["cases"]) < len(chosen):
        shown = f"{len(viewer['cases'])} of {len(chosen)} cases"
        log.warning("%s: shows %s; more would be too large", output, shown)
    write_text(output, _page(viewer=viewer, **values))


def _page(**values: Any) -> str:
    """The template with values, which are escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # rows stay in their order
    return environment.get_template("page.html").render(**values)


def _tables(
    cv: pd.DataFrame, folder: Path, methods: dict[str, "Row"], labels: Labels
) -> dict[str, list[list[str]]]:
    """Title to lines of cells, the head before them."""
    found = forms(cv, methods, labels)
    if len(methods) > 1:
        found |= {
            f"Comparison: {title}": form
            for title, form in comparison_forms(read_comparison(folder), labels).items()
        }
    return {
        title: [
            [str(cell).replace("`", "") for cell in line]
            for line in (list(form.columns), *form.to_numpy().tolist())
        ]
        for title, form in found.items()
    }


def _case_table(scored: Scores, labels: Labels) -> list[list[str]]:
    """Lines of case, fold and each row's composite Dice, the head before them."""
    native = {row: composites(table, labels).set_index("case") for row, table in scored.items()}
    fold = next(iter(native.values()))["fold"].sort_index()
    values = pd.DataFrame({row: table["composite"] for row, table in native.items()})
    told = values.loc[fold.index].map(lambda value: "-" if pd.isna(value) else f"{value:.3f}")
    lines = [
        [str(case), str(fold[case]), *cells]
        for case, cells in zip(fold.index, told.to_numpy().tolist(), strict=True)
    ]
    return [["Case", "Fold", *native], *lines]


def _picture(path: Path, base: Path) -> dict[str, str]:
    """A picture with its title, and where its vectors are, seen from the page."""
    folder = path.parent.parent.name
    if path.stem in SHOWN:
        title = SHOWN[path.stem]
        title = title if path.stem.startswith("compare_") else f"{folder}: {title}"
    else:
        title = f"{folder}: training curves, stage {path.stem.removeprefix('curves_')}"
    vectors = path.with_suffix(".svg")
    return {
        "title": title,
        "source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
        "vectors": os.path.relpath(vectors, base) if vectors.exists() else "",
    }


def _legend(methods: dict[str, "Row"], labels: Labels) -> dict[str, Any]:
    """What the page's script knows of rows and regions, and its cases, of which there are none yet.

    Rows differ by colour, and those of the same colour by dashes.
    """
    lines: dict[str, Any] = {TRUTH: {"title": "Truth", "colour": "#ffffff", "dash": []}}
    for number, (name, method) in enumerate(methods.items()):
        turn, colour = divmod(number, len(BRIGHT))
        dash = list(DASHES[turn % len(DASHES)])
        lines[name] = {"title": method.title, "colour": BRIGHT[colour], "dash": dash}
    regions = {region.name: region.title for region in labels.regions}
    return {"truth": TRUTH, "lines": lines, "regions": regions, "cases": []}


def _chosen(scored: Scores, labels: Labels) -> dict[str, str]:
    """The cases to look at, and why: those of all rows, then each row's worst, best and median."""
    mean = mean_of_rows(scored, labels).index
    positions = {"best": -1, "median": len(mean) // 2, "worst": 0}
    ranked = {row: ranked_cases(table, labels) for row, table in scored.items()}
    of = "all rows" if len(scored) > 1 else next(iter(scored))
    reasons = [(str(mean[positions[rank]]), f"{rank} of {of}") for rank in RANKS]
    if len(scored) > 1:
        reasons += [
            (str(ranked[row][rank]["case"]), f"{rank} of {row}")
            for rank in ("worst", "best", "median")
            for row in scored
        ]
    chosen: dict[str, list[str]] = {}
    for case, why in reasons:
        if case in chosen or len(chosen) < MOST_CASES:
            chosen.setdefault(case, []).append(why)
    return {case: ", ".join(why) for case, why in chosen.items()}


def _dices(scored: Scores, case: str, labels: Labels) -> dict[str, str]:
    """What each row scored in a case, as text."""
    told = {}
    for row, table in scored.items():
        (line,) = table[(table["grid"] == "native") & (table["case"] == case)].to_dict("records")
        told[row] = ", ".join(
            f"{region.title} {line[f'{region.name}_dice']:.3f}"
            for region in labels.regions
            if pd.notna(line[f"{region.name}_dice"])
        )
    return told
