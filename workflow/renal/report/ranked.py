"""Which cases went best and worst, of a row and of all rows together."""

import pandas as pd

from renal.labels import KITS19, Labels

RANKS = ("best", "median", "worst")


def composites(scores: pd.DataFrame, labels: Labels = KITS19) -> pd.DataFrame:
    """The scores on the native grid, in which every case has a composite, from worst to best.

    Of a row that does not look for every region, the mean Dice of those that it looks for counts.
    """
    native = scores[scores["grid"] == "native"].copy()
    dices = [f"{name}_dice" for name in labels.names]
    native["composite"] = native["composite"].fillna(native[dices].mean(axis=1))
    return native.sort_values(["composite", "case"])


def ranked_cases(scores: pd.DataFrame, labels: Labels = KITS19) -> dict[str, pd.Series]:
    """The cases of best, median and worst composite Dice of a row on the native grid."""
    native = composites(scores, labels)
    positions = {"best": len(native) - 1, "median": len(native) // 2, "worst": 0}
    return {rank: native.iloc[positions[rank]] for rank in RANKS}


def mean_of_rows(scores: dict[str, pd.DataFrame], labels: Labels = KITS19) -> pd.Series:
    """Mean composite of all rows by case, from worst to best.

    Parameters
    ----------
    scores : dict
        Row to its scores.
    labels : Labels
        The regions that were scored.
    """
    values = [composites(table, labels).set_index("case")["composite"] for table in scores.values()]
    mean = pd.concat(values, axis=1).mean(axis=1).rename_axis("case").reset_index(name="mean")
    return mean.sort_values(["mean", "case"]).set_index("case")["mean"]


def columns_of(labels: Labels) -> list[str]:
    """What a table of scores must have for this."""
    return ["case", "fold", "grid", "composite", *(f"{name}_dice" for name in labels.names)]
