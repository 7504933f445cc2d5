"""No test of a picture leaves it open."""

import pytest
from matplotlib import pyplot as plt

from renal.handover.checked import CheckedCase

from .helpers import write_cases


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    assert plt.get_fignums() == []


@pytest.fixture
def drawn_cases(tmp_path) -> dict[str, CheckedCase]:
    return write_cases(tmp_path, ["case_0", "case_1", "case_2"])
