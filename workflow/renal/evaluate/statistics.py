"""Paired statistics over cases: intervals, tests and rankings.

Everything works on tables of values, a line for each row or pair of rows and a column for each
case; nan stands where a metric is not defined. Resampling is of cases, the same for all lines.

References
----------
B. Efron, "Better bootstrap confidence intervals", JASA 82(397), 1987
F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1(6), 1945
S. Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 6(2), 1979
M. Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
results", Scientific Reports 11, 2021: rankings, and how stable they are
"""

from functools import cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from renal.handover.comparison import LEVEL

POWER = 0.8
DIGITS = 9  # of differences: scores have six, and equal differences differ in their last bit
TAILS = (LEVEL / 2, 1 - LEVEL / 2)  # of 95 % intervals


def draws(cases: int, count: int, seed: int = 0) -> np.ndarray:
    """How often each case is in a bootstrap sample: (count, cases) float, of sum `cases` a line."""
    random = np.random.default_rng(seed)
    return random.multinomial(cases, np.full(cases, 1 / cases), size=count).astype(float)


def bca(values: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of means, bias-corrected and accelerated (Efron 1987).

    Parameters
    ----------
    values : numpy.ndarray
        (lines, cases) float; the mean is that of the cases that are not nan.
    drawn : numpy.ndarray
        (samples, cases), from `draws`.

    Returns
    -------
    low, high : numpy.ndarray
        (lines,) float; nan where fewer than two cases have a value.
    """
    there = np.isfinite(values)
    filled = np.where(there, values, 0)
    counts = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=1) / counts
        sampled = np.sort((drawn @ filled.T) / (drawn @ there.T), axis=0)
        # Samples without any case that has a value have no mean, and are sorted last.
        known = np.isfinite(sampled).sum(axis=0)
        # Means of equal values differ in their last digits by the order of summation.
        near = 1e-12 * np.maximum(np.abs(mean), 1)
        below = (sampled < mean - near).sum(axis=0) + (np.abs(sampled - mean) <= near).sum(0) / 2
        bias = ndtri(below / known)
        away = np.where(there, values - mean[:, None], 0)
        acceleration = (away**3).sum(axis=1) / (6 * (away**2).sum(axis=1) ** 1.5)
        acceleration = np.where(np.isfinite(acceleration), acceleration, 0)
        bounds = []
        for tail in TAILS:
            moved = bias + ndtri(tail)
            place = ndtr(bias + moved / (1 - acceleration * moved))
            bounds.append(_quantiles(sampled, known, place))
    few = counts < 2
    low, high = (np.where(few, np.nan, bound) for bound in bounds)
    return low, high


def _quantiles(ordered: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A quantile of the first `known` of each column of (samples, lines) sorted values, linear."""
    last = np.maximum(known - 1, 0)
    position = np.nan_to_num(places) * last
    lower = np.floor(position).astype(int)
    upper = np.minimum(lower + 1, last)
    lines = np.arange(ordered.shape[1])
    share = position - lower
    quantile: np.ndarray = ordered[lower, lines] * (1 - share) + ordered[upper, lines] * share
    return quantile


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; cases without a difference are left out.

    By `scipy.stats.wilcoxon`: exact for at most 50 cases without ties; with ties by permuted signs
    for at most 13, else by the normal approximation. 1 without any difference.
    """
    differences = np.round(differences, DIGITS)
    found = differences[np.isfinite(differences) & (differences != 0)]
    return float(stats.wilcoxon(found).pvalue) if found.size else 1.0


def resampled_signed_rank(differences: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The z of Wilcoxon's signed-rank test on bootstrap samples, by the normal approximation.

    Parameters
    ----------
    differences : numpy.ndarray
        (cases,) float, nan where one of both is not defined.
    drawn : numpy.ndarray
        (samples, cases), from `draws`.

    Returns
    -------
    numpy.ndarray
        (samples,) float, above zero where differences are mostly positive; 0 without any.
    """
    differences = np.round(differences, DIGITS)
    found = np.flatnonzero(np.isfinite(differences) & (differences != 0))
    if not found.size:
        return np.zeros(len(drawn))
    size = np.abs(differences[found])
    order = np.argsort(size, kind="stable")
    starts = np.flatnonzero(np.diff(size[order], prepend=-1))
    weight = drawn[:, found[order]]
    positive = weight * (differences[found[order]] > 0)
    if len(starts) < len(order):
        weight = np.add.reduceat(weight, starts, axis=1)
        positive = np.add.reduceat(positive, starts, axis=1)
    # Equal sizes, of one case drawn several times too, share the mean of their ranks.
    rank = np.cumsum(weight, axis=1) - (weight - 1) / 2
    number = weight.sum(axis=1)
    centre = number * (number + 1) / 4
    variance = number * (number + 1) * (2 * number + 1) / 24
    variance -= (weight * (weight * weight - 1)).sum(axis=1) / 48
    away = np.einsum("ij,ij->i", positive, rank) - centre
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, away / np.sqrt(variance), 0)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p along the last axis."""
    order = np.argsort(p, axis=-1)
    factors = np.arange(p.shape[-1], 0, -1)
    raised = np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, axis=-1)
    adjusted = np.empty_like(p, dtype=float)
    np.put_along_axis(adjusted, order, np.minimum(raised, 1), -1)
    return adjusted


@cache
def detectable(cases: int) -> float:
    """Smallest mean difference, in SDs of the differences, that a paired t test finds mostly.

    Two-sided at 5 %, not adjusted for other pairs, with a power of 80 %; nan for fewer than three
    cases.
    """
    if cases < 3:
        return float("nan")
    free, root = cases - 1, np.sqrt(cases)
    bound = stats.t.ppf(TAILS[1], free)

    def lacking(effect: float) -> float:
        shifted = stats.nct(free, effect * root)
        return float(shifted.sf(bound) + shifted.cdf(-bound)) - POWER

    near = (bound + stats.t.ppf(POWER, free)) / root
    return float(brentq(lacking, near / 2, 1.5 * near))


def wins(differences: np.ndarray, p: np.ndarray, pairs: np.ndarray, rows: int) -> np.ndarray:
    """How many others each row is better than by tests: (..., rows) int.

    Parameters
    ----------
    differences : numpy.ndarray
        (..., pairs), above zero where the first of a pair tends to be better.
    p : numpy.ndarray
        (..., pairs), adjusted.
    pairs : numpy.ndarray
        (pairs, 2) int: two rows each.
    rows : int
        Number of rows.
    """
    first = (p < LEVEL) & (differences > 0)
    second = (p < LEVEL) & (differences < 0)
    won = np.zeros((*p.shape[:-1], rows), int)
    for number, (one, other) in enumerate(pairs.tolist()):
        won[..., one] += first[..., number]
        won[..., other] += second[..., number]
    return won


def case_ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each row in each case, 1 the best; equal ones share the mean, nan is last.

    Parameters
    ----------
    values : numpy.ndarray
        (rows, cases) float, larger is better.
    """
    ranks: np.ndarray = stats.rankdata(-np.nan_to_num(values, nan=-np.inf), axis=0)
    return ranks


def places(scores: np.ndarray) -> np.ndarray:
    """Place of each row along the last axis, 1 for the largest score; equal ones share a place.

    nan for all where a score is.
    """
    ranked: np.ndarray = stats.rankdata(-scores, method="min", axis=-1)
    return ranked


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau b of two rankings; nan where one of them tells no row apart."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.kendalltau(one, other).statistic)
