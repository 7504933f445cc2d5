"""Intervals, tests and rankings: by hand, and against scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from renal.evaluate import statistics

RANDOM = np.random.default_rng(7)
SKEWED = np.round(RANDOM.beta(8, 2, 60) - 0.75, 6)
ONCE = np.ones((1, 60))


def test_every_sample_has_as_many_cases():
    drawn = statistics.draws(9, 50)
    assert drawn.shape == (50, 9)
    assert (drawn.sum(axis=1) == 9).all()
    assert np.array_equal(drawn, statistics.draws(9, 50))


def test_bca_agrees_with_scipy():
    low, high = statistics.bca(SKEWED[None], statistics.draws(60, 20000))
    theirs = stats.bootstrap((SKEWED,), np.mean, n_resamples=20000, rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert low.item() == pytest.approx(theirs.low, abs=0.03 * width)
    assert high.item() == pytest.approx(theirs.high, abs=0.03 * width)


def test_bca_of_equal_values_is_their_mean_and_of_one_value_unknown():
    values = np.array([[0.1, 0.1, 0.1], [0.7, np.nan, np.nan]])
    low, high = statistics.bca(values, statistics.draws(3, 500))
    assert low[0] == pytest.approx(0.1)
    assert high[0] == pytest.approx(0.1)
    assert np.isnan([low[1], high[1]]).all()


def test_bca_leaves_out_cases_without_a_value():
    with_gaps = np.concatenate([SKEWED, np.full(40, np.nan)])[None]
    low, high = statistics.bca(with_gaps, statistics.draws(100, 20000))
    bounds = statistics.bca(SKEWED[None], statistics.draws(60, 20000))
    width = (bounds[1] - bounds[0]).item()
    assert [low.item(), high.item()] == pytest.approx(np.ravel(bounds), abs=0.05 * width)


def test_bca_of_a_metric_that_few_cases_have():
    """Samples that none of them is in have no mean, and count for none."""
    few = np.full((1, 60), np.nan)
    few[0, :3] = 5, 12, 20
    low, high = statistics.bca(few, statistics.draws(60, 20000))
    assert 5 <= low.item() < 37 / 3 < high.item() <= 20


def test_signed_rank_by_hand():
    # All five of one sign: 2 of 2**5 signs are as extreme.
    assert statistics.signed_rank(np.array([1.0, 2, 3, 4, 5])) == 2 / 32
    assert statistics.signed_rank(np.array([1.0, 2, 3, 4, 5, 0, np.nan])) == 2 / 32
    assert statistics.signed_rank(np.zeros(4)) == 1


def test_differences_that_are_equal_but_for_their_last_bit_share_a_rank():
    """As distances of whole pixels of 0.7 mm are: written with six digits, and subtracted."""
    pixels = np.array([1, -1, 1, 1, -1, 1, -1, 1, 1, 2])
    first = np.array([2.1, 1.4, 2.8, 3.5, 0.7, 4.2, 1.4, 2.1, 5.6, 2.1])
    computed = first - np.round(first - 0.7 * pixels, 6)
    assert len(set(np.abs(computed))) > 2
    assert statistics.signed_rank(computed) == statistics.signed_rank(0.7 * pixels)
    z = statistics.resampled_signed_rank(computed, np.ones((1, 10)))
    assert z == pytest.approx(statistics.resampled_signed_rank(pixels, np.ones((1, 10))))


@pytest.mark.parametrize("values", [SKEWED, np.round(SKEWED, 1), np.abs(SKEWED)])
def test_resampled_signed_rank_of_the_cases_themselves_is_scipys(values):
    z = statistics.resampled_signed_rank(values, ONCE)
    theirs = stats.wilcoxon(values, method="approx", alternative="greater")
    assert z.item() == pytest.approx(theirs.zstatistic)
    p = stats.wilcoxon(values, method="approx").pvalue
    assert 2 * stats.norm.sf(abs(z.item())) == pytest.approx(p)


def test_resampled_signed_rank_of_a_sample_is_scipys():
    drawn = statistics.draws(60, 5)
    found = statistics.resampled_signed_rank(SKEWED, drawn)
    for z, times in zip(found, drawn.astype(int), strict=True):
        sample = np.repeat(SKEWED, times)
        theirs = stats.wilcoxon(sample, method="approx", alternative="greater")
        assert z == pytest.approx(theirs.zstatistic)


def test_nothing_differs_in_no_sample():
    assert not statistics.resampled_signed_rank(np.zeros(60), ONCE).any()


def test_holm_by_hand_and_as_statsmodels():
    assert statistics.holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx(
        [0.03, 0.06, 0.06]
    )
    p = RANDOM.random((3, 20)) ** 3
    theirs = [multipletests(line, method="holm")[1] for line in p]
    assert np.allclose(statistics.holm(p), theirs)


@pytest.mark.parametrize("cases", [3, 5, 30, 210, 489])
def test_detectable_as_statsmodels(cases):
    theirs = TTestPower().solve_power(nobs=cases, alpha=0.05, power=0.8)
    assert statistics.detectable(cases) == pytest.approx(theirs, rel=1e-4)


def test_nothing_is_detectable_in_two_cases():
    assert np.isnan(statistics.detectable(2))


def test_wins_places_and_ranks_by_hand():
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    won = statistics.wins(np.array([1.0, 1.0, -1.0]), np.array([0.01, 0.2, 0.01]), pairs, 3)
    assert won.tolist() == [1, 0, 1]
    assert statistics.places(won).tolist() == [1, 3, 1]
    values = np.array([[0.9, 0.5, np.nan], [0.8, 0.5, 0.1], [0.7, 0.6, np.nan]])
    ranks = statistics.case_ranks(values)
    assert ranks.T.tolist() == [[1, 2, 3], [2.5, 2.5, 1], [2.5, 1, 2.5]]


def test_agreement_by_hand():
    assert statistics.agreement(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(1 / 3)
    assert np.isnan(statistics.agreement(np.array([1, 1, 1]), np.array([1, 3, 2])))
