"""No test of a picture leaves it open."""

import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    assert plt.get_fignums() == []
