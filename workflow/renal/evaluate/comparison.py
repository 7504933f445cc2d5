"""Rows against each other on the cases that they share: differences, intervals, tests and ranks."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from renal.errors import InputError
from renal.evaluate import statistics
from renal.handover.comparison import LEVEL, SCHEMES
from renal.labels import KITS19, Labels

SAMPLES = 5000  # of the intervals of means
RANKED_SAMPLES = 1000  # of those of ranks: each takes a test of every pair
Rows = dict[str, tuple[str, ...]]


def compared_metrics(labels: Labels) -> dict[str, bool]:
    """Metrics, of which larger ones are better where it says so."""
    larger = [f"{name}_dice" for name in labels.names] + ["composite"]
    larger += [f"{name}_surface_area_dice" for name in labels.names]
    return dict.fromkeys(larger, True) | {f"{name}_hd95": False for name in labels.names}


def compare(scores: list[Path], rows: Rows, labels: Labels = KITS19) -> dict[str, pd.DataFrame]:
    """Compare rows on the native grid, metric by metric.

    Parameters
    ----------
    scores : list of Path
        scores.csv of every row.
    rows : dict
        Row to the models and files that it is made of, in the order of the tables: rows that share
        some depend on each other.
    labels : Labels
        The regions that were scored.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``pairs``: a line for each metric and pair of rows, with the differences first - second.
        ``rows``: a line for each metric and row that looks for its region, with ranks.
        ``schemes``: Kendall's tau between the ways to rank, for each metric.
        ``places``: in which share of the bootstrap samples a row has a place, for each metric and
        way to rank; places that it never has are left out.
        ``cases``: the values, a line for each metric, case and row, as challengeR reads them.

    Raises
    ------
    InputError
        If the rows share fewer than two cases, or no two of them a region.
    """
    table = pd.concat([pd.read_csv(path) for path in scores])
    native = table[table["grid"] == "native"]
    by_row = {row: native[native["method"] == row].set_index("case") for row in rows}
    shared = sorted(set.intersection(*(set(part.index) for part in by_row.values())))
    if len(shared) < 2:
        raise InputError(
            f"{', '.join(rows)}: {len(shared)} cases were scored for all of them, two are needed: "
            "compare rows of one results folder"
        )
    by_row = {row: part.loc[shared] for row, part in by_row.items()}
    drawn = statistics.draws(len(shared), SAMPLES)
    tables = ("pairs", "rows", "schemes", "places", "cases")
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in tables}
    for metric, larger in compared_metrics(labels).items():
        there = [row for row, part in by_row.items() if part[metric].notna().any()]
        values = np.array([by_row[row][metric].astype(float) for row in there])
        if len(there) < 2:
            continue
        failed = [_failures(by_row[row], metric, labels) for row in there]
        pairs = _pairs(values, there, rows, drawn, larger)
        described, schemes, places = _rows(values, there, pairs, drawn, larger)
        described.insert(2, "failures", failed)
        cases = pd.DataFrame(values.T, index=shared, columns=there).rename_axis("case")
        cases = cases.reset_index().melt("case", var_name="alg_name")
        parts = (pairs, described, schemes, places, cases)
        for name, part in zip(found, parts, strict=True):
            part.insert(0, "task" if name == "cases" else "metric", metric)
            found[name].append(part)
    if not found["pairs"]:
        raise InputError(f"{', '.join(rows)}: no two look for the same region: compare others")
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def _failures(scores: pd.DataFrame, metric: str, labels: Labels) -> int:
    """Cases in which the metric's region, or any of the composite, has a Dice of zero."""
    names = [name for name in labels.names if metric.startswith(f"{name}_")] or labels.names
    return int((scores[[f"{name}_dice" for name in names]] == 0).any(axis=1).sum())


def _pairs(
    values: np.ndarray,
    names: list[str],
    rows: Rows,
    drawn: np.ndarray,
    larger: bool,
) -> pd.DataFrame:
    """Paired differences of all pairs of rows, and their tests."""
    pairs = list(combinations(range(len(names)), 2))
    differences = np.array([values[one] - values[other] for one, other in pairs])
    described = _described(differences, drawn)
    described.insert(0, "first", [names[one] for one, _ in pairs])
    described.insert(1, "second", [names[other] for _, other in pairs])
    p = np.array([statistics.signed_rank(line) for line in differences])
    adjusted = statistics.holm(p)
    toward = _tests(values if larger else -values, np.ones((1, values.shape[1])))[0][0]
    better = np.where(toward > 0, described["first"], described["second"])
    spread = np.array([np.std(line[np.isfinite(line)], ddof=1) for line in _defined(differences)])
    effects = [statistics.detectable(int(count)) for count in described["cases"]]
    return described.assign(
        p=p,
        p_holm=adjusted,
        better=np.where((adjusted < LEVEL) & (toward != 0), better, ""),
        detectable=np.array(effects) * spread,
        dependent=[bool(set(rows[names[one]]) & set(rows[names[other]])) for one, other in pairs],
    )


def _defined(lines: np.ndarray) -> np.ndarray:
    """Lines, with two zeros in those of fewer than two values, so that each has an SD."""
    few = np.isfinite(lines).sum(axis=1) < 2
    filled = lines.copy()
    filled[few, :2] = 0
    return filled


def _described(values: np.ndarray, drawn: np.ndarray) -> pd.DataFrame:
    """Number, mean with interval, median and quartiles of each line."""
    frame = pd.DataFrame(values.T)
    low, high = statistics.bca(values, drawn)
    quartiles = frame.quantile([0.25, 0.5, 0.75])
    return pd.DataFrame(
        {
            "cases": frame.count(),
            "mean": frame.mean(),
            "low": low,
            "high": high,
            "median": quartiles.loc[0.5],
            "first_quartile": quartiles.loc[0.25],
            "third_quartile": quartiles.loc[0.75],
        }
    )


def _rows(
    values: np.ndarray, names: list[str], pairs: pd.DataFrame, drawn: np.ndarray, larger: bool
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Each row by itself with its ranks, how the ways to rank agree, and what samples say."""
    described = _described(values, drawn)
    described.insert(0, "row", names)
    better = values if larger else -values
    once = np.ones((1, values.shape[1]))
    observed = _scores(better, once)
    toward, _ = _tests(better, once)
    numbers = np.array(list(combinations(range(len(names)), 2)))
    adjusted = pairs["p_holm"].to_numpy()[None]
    observed["test"] = statistics.wins(toward, adjusted, numbers, len(names)).astype(float)
    samples = drawn[:RANKED_SAMPLES]
    sampled = _scores(better, samples)
    toward, p = _tests(better, samples)
    sampled["test"] = statistics.wins(toward, statistics.holm(p), numbers, len(names)).astype(float)
    ranks, shares = {}, []
    for scheme in SCHEMES:
        ranks[scheme] = statistics.places(observed[scheme])[0]
        places = statistics.places(sampled[scheme])
        places = places[np.isfinite(places).all(axis=1)]
        low, high = pd.DataFrame(places).quantile(statistics.TAILS, interpolation="nearest").values
        for end, bound in (("", ranks[scheme]), ("_low", low), ("_high", high)):
            described[f"rank_{scheme}{end}"] = pd.array(bound, "Int64")
        shares.append(_shares(places, names).assign(scheme=scheme))
    schemes = pd.DataFrame(
        [
            (one, other, statistics.agreement(ranks[one], ranks[other]))
            for one, other in combinations(SCHEMES, 2)
        ],
        columns=["scheme", "other", "kendall_tau"],
    )
    return described, schemes, pd.concat(shares)[["scheme", "row", "place", "share"]]


def _shares(places: np.ndarray, names: list[str]) -> pd.DataFrame:
    """The share of samples in which a row has a place, from (samples, rows) places."""
    return pd.DataFrame(
        [
            (name, int(place), count / len(places))
            for name, column in zip(names, places.T, strict=True)
            for place, count in zip(*np.unique(column, return_counts=True), strict=True)
        ],
        columns=["row", "place", "share"],
    )


def _scores(better: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """What rows are ranked by, (samples, rows), larger is better.

    The mean is that of the cases in which every row has a value, or a row that fails would win by
    the cases that it leaves out; by ranks such a row is last in them. nan without such a case.
    """
    everywhere = np.isfinite(better).all(axis=0)
    counts = drawn[:, everywhere].sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        means = drawn[:, everywhere] @ better[:, everywhere].T / counts
    return {
        "mean": np.round(means, 12),
        "mean_rank": np.round(-drawn @ statistics.case_ranks(better).T / better.shape[1], 12),
    }


def _tests(better: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each sample and pair of rows which one tends to be better, and p."""
    pairs = combinations(range(len(better)), 2)
    z = np.array(
        [
            statistics.resampled_signed_rank(better[one] - better[other], drawn)
            for one, other in pairs
        ]
    ).T
    return z, 2 * stats.norm.sf(np.abs(z))
