"""The table of benchmarks/study.py."""

import numpy as np
import pandas as pd
import pytest
import study
from scipy import stats

from renal.handover.checked import CheckedCase, write_checked

SMALL = pd.Series({"case_00000": 1.0, "case_00001": 2.0})


def scores(first, kidney, tumour, ceiling, located=np.nan):
    """A seed's table: a case for each value, on the native grid and at its ceiling."""
    cases = [f"case_{first + number:05d}" for number in range(len(kidney))]
    native = {"case": cases, "grid": "native", "kidney_dice": kidney, "tumour_dice": tumour}
    native |= {"located_kidney": located, "located_tumour": located}
    best = {"case": cases, "grid": "ceiling", "kidney_dice": ceiling, "tumour_dice": ceiling}
    return pd.concat([pd.DataFrame(native), pd.DataFrame(best)], ignore_index=True)


def test_a_rows_dice_and_what_it_lacks_are_means_over_all_seeds_cases():
    kidney = np.split(np.random.default_rng(0).uniform(0.4, 0.9, 24), [8, 16])
    tables = [
        scores(10 * seed, values, [0.5] * len(values), [0.95] * len(values))
        for seed, values in enumerate(kidney)
    ]
    cases = [case for table in tables for case in table["case"]]
    found = study.figures(tables, pd.Series(0.0, index=dict.fromkeys(cases)))
    values = np.concatenate(kidney)
    sampled = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(0))
    low, high = sampled.confidence_interval
    mean, interval = found["kidney"].split(" ", 1)
    assert float(mean) == pytest.approx(values.mean(), abs=6e-4)
    bounds = [float(bound) for bound in interval.strip("()").split(" to ")]
    assert bounds == pytest.approx([low, high], abs=0.01)
    assert found["kidney lacks"].startswith(f"{0.95 - values.mean():.3f} (")
    assert found["kidney lacks, median"] == f"{0.95 - np.median(values):.3f}"
    single = [float(mean) for mean in found["kidney, each seed"].split(", ")]
    assert single == pytest.approx([part.mean() for part in kidney], abs=6e-3)
    assert found["tumour"] == "0.500 (0.500 to 0.500)"
    assert found["tumour lacks"].startswith("0.450 (")


def test_cases_are_paired_with_their_own_ceilings_in_any_order():
    table = scores(0, [0.9, 0.5], [0.5, 0.5], [0.9, 0.6])
    found = study.figures([table], SMALL)
    assert study.figures([table.iloc[::-1]], SMALL)["kidney lacks"] == found["kidney lacks"]
    assert found["kidney lacks"].startswith("0.050 (")


def test_what_a_cascade_located_is_a_mean_over_cases_and_empty_without_a_cascade():
    cascade = scores(0, [0.9, 0.5], [0.5, 0.5], [0.9, 0.6], located=[1.0, 0.5])
    assert study.figures([cascade], SMALL)["tumour located"] == "0.750"
    alone = scores(0, [0.9, 0.5], [0.5, 0.5], [0.9, 0.6])
    assert study.figures([alone], SMALL)["tumour located"] == ""


def test_large_tumours_and_small_ones_have_means_of_their_own(tmp_path):
    folder = tmp_path / "results/cases"
    folder.mkdir(parents=True)
    volumes = {"case_00000": 30.0, "case_00001": 29.9, "case_00002": 200.0}
    cases = [
        CheckedCase(name=name, image="", label="", volumes_ml={"kidney": 300.0, "tumour": volume})
        for name, volume in volumes.items()
    ]
    write_checked(folder / "fold0-000.json", cases[:2])
    write_checked(folder / "fold1-000.json", cases[2:])
    (folder / ".fold0-000.json.seal.json").write_text("{}")
    table = scores(0, [0.9] * 3, [0.4, 0.1, 0.8], 0.95)
    found = study.figures([table.iloc[::-1]], study.tumour_ml(tmp_path))
    assert found["tumour from 30 ml"] == "0.600"
    assert found["tumour below"] == "0.100"
