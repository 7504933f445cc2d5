"""How far one set of labels agrees with another, as tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from renal.files import write_text
from renal.labels import KITS19, Labels
from renal.report.annotators import with_found
from renal.report.tables import dice_titles, further_titles, markdown_tables


def agreement(rows: list[dict[str, Any]], labels: Labels = KITS19) -> str:
    """Markdown: each metric over all cases, then the Dice of each case.

    Parameters
    ----------
    rows : list of dict
        Name and metrics of each case.
    labels : Labels
        The regions that were scored.
    """
    scores = with_found(pd.DataFrame(rows), labels)
    dice = dice_titles(labels)
    metrics = {k: title for k, title in (dice | further_titles(labels)).items() if k in scores}
    described = []
    for metric, title in metrics.items():
        values = scores[metric].dropna().astype(float)
        figures = (values.mean(), values.median(), values.min(), values.max())
        described.append([title, *map(_figure, figures), str(len(values))])
    head = ["Metric", "Mean", "Median", "Least", "Largest", "Cases"]
    cases = [
        [str(row["case"]), *(_figure(row[metric]) for metric in dice)]
        for row in scores.sort_values("composite").to_dict("records")
    ]
    tables = {
        "All cases": pd.DataFrame(described, columns=head),
        "Each case, least agreement first": pd.DataFrame(cases, columns=["Case", *dice.values()]),
    }
    return "\n".join(markdown_tables(tables))


def write_agreement(rows: list[dict[str, Any]], text: str, output: Path) -> None:
    """Write labels.md, and labels.csv with all metrics of each case, into the folder `output`."""
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6f")
    write_text(output / "labels.csv", table)
    write_text(output / "labels.md", text)


def _figure(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3f}"
