"""What annotators reach among themselves, as a row of the tables."""

from pathlib import Path

import pandas as pd

from renal.handover.tables import read_table
from renal.labels import Labels

ANNOTATORS = "annotators among themselves"


def with_found(scores: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Scores with a column of which lesions were found, of those that there are: 1, 0 or nan."""
    scores = scores.copy()
    for region in labels.regions:
        if region.lesion:
            detection = scores[f"{region.name}_detection"]
            there = detection.isin(["found", "missed"])
            scores[f"{region.name}s_found"] = (detection == "found").where(there)
    return scores


def annotators_means(
    path: Path, metrics: list[str], labels: Labels, cases: set[str]
) -> list[tuple[str, float, int]]:
    """Each metric's mean over the cases of the mean over their pairs, and how many have it.

    Parameters
    ----------
    path : Path
        CSV that `score_annotators` wrote: a row for each case and pair.
    metrics : list of str
        Columns of the scores; of those that it does not have the mean is nan.
    labels : Labels
        The regions that were scored.
    cases : set of str
        Those that a table is of; without an outline of any of them there is nothing to tell.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    columns = [f"{r.name}_detection" for r in labels.regions if r.lesion]
    columns += [f"{name}_dice" for name in labels.names]
    pairs = with_found(read_table(path, ["case", *columns]), labels)
    pairs = pairs.reindex(columns=["case", *metrics]).astype(dict.fromkeys(metrics, float))
    means = pairs[pairs["case"].isin(cases)].groupby("case")[metrics].mean()
    if means.empty:
        return []
    return [(metric, means[metric].mean(), int(means[metric].count())) for metric in metrics]


def notes_on_annotators(table: pd.DataFrame) -> str:
    """How their row is to be read; begins with a space, or is empty where there is none."""
    cases = table.loc[table["method"] == ANNOTATORS, "cases"]
    if cases.empty:
        return ""
    return (
        f" {ANNOTATORS.capitalize()}: the {cases.max()} labelled cases that have several outlines "
        "of each kidney, tumour and cyst (KiTS23). The first outlines of all make one label map, "
        "the second ones another, and so on, painted as the official labels are; each pair of maps "
        "is scored by the metrics of the rows, and the mean is that over the cases of the mean "
        "over their pairs. The outlines are of the same instances, so that hardly any is missed, "
        "and those of one number are not all one person's."
    )
