"""Memory that is asked of a scheduler grows with what nnU-Net learns."""

import pytest

from renal.labels import KITS19, Labels, Region
from renal.learn.nnunet.memory import prediction_memory, preparing_memory, training_memory
from renal.learn.nnunet.settings import Planning
from renal.recipe.schemes import PRESETS

TISSUES = Planning(planner="ExperimentPlanner", configuration="3d_fullres")
REGIONS = TISSUES.model_copy(update={"regions": True})


def scheme(values: int) -> Labels:
    names = {value: f"tissue{value}" for value in range(1, values + 1)}
    return Labels(tissues=names, regions=(Region("all", tuple(names)),))


def test_what_is_asked_for_kits19_is_what_was_measured():
    assert preparing_memory(2, 1) == prediction_memory(TISSUES, KITS19, 2, 1) == 34000
    assert training_memory(TISSUES, KITS19, 4, 1) == 16000


@pytest.mark.parametrize(("attempt", "training"), [(1, 16000), (2, 32000), (3, 32000)])
def test_a_job_that_failed_asks_for_more(attempt, training):
    assert training_memory(TISSUES, KITS19, 4, attempt) == training
    assert prediction_memory(TISSUES, KITS19, 1, attempt) == 17000 * attempt


def test_each_further_map_takes_memory():
    """Of twenty tissues and the background there are eighteen more than KiTS19's three."""
    asked = [prediction_memory(TISSUES, scheme(n), 2, 1) for n in (1, 2, 3, 20)]
    assert asked == [34000, 34000, 34000 + 2 * 3500, 34000 + 2 * 18 * 3500]
    assert training_memory(TISSUES, scheme(20), 4, 2) == 2 * (16000 + 18 * 400)


def test_regions_are_maps_without_a_background():
    """KiTS23's three regions take what KiTS19's background and tissues do; its values are four."""
    kits23 = PRESETS["kits23"]
    assert prediction_memory(REGIONS, kits23, 1, 1) == 17000
    assert prediction_memory(TISSUES, kits23, 1, 1) == 20500
    assert prediction_memory(REGIONS, scheme(20), 1, 1) == 17000
