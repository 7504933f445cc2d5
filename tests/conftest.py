"""A small data set in KiTS19's layout, made once for all tests, and which tests share what."""

import gc
import os
import shutil

import pytest
from hypothesis import settings

from renal.data.cases import find_cases
from renal.data.phantom import write_phantom
from renal.data.validation import check_case

# The same examples in every run, however slow the machine: a change of the code is what may fail a
# test, not a new draw.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# The million objects of the libraries and tests live until the end, and looking through them for
# garbage took an eighth of the time. It is done less often; what is there once tests are collected,
# and what is left when they have ended, is not looked at (`gc.freeze` below).
gc.set_threshold(100_000, 50, 50)

# Several workers share the cores: what does not say how many threads it wants has one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# And a program that is started again and again compiles its modules once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What takes long to make is made by one worker only: its tests are the worker's own. Groups of many
# tests begin first; of those that take minutes there are as many as workers on two cores.
GROUPS = {
    "browser": "browser",
    "demo_data": "demo",
    "first_run": "small",
    "loaded": "loaded",
    "ensembled": "small",
    "rehearsed": "gpu",
    "predicted": "gpu",
    "undisturbed": "slurm",
    "cluster": "slurm",
    "monai": "monai",
    "orthanc": "slurm",  # both may install packages, which goes one after the other
}


def pytest_collection_finish():
    gc.freeze()


def pytest_unconfigure():
    gc.freeze()


def pytest_itemcollected(item):
    """Give the tests that use the same long run to the same worker of pytest-xdist."""
    for fixture in GROUPS.keys() & set(item.fixturenames):
        item.add_marker(pytest.mark.xdist_group(GROUPS[fixture]))


@pytest.fixture(scope="session")
def monai():
    """Another implementation of losses, metrics and more; to load it takes five seconds."""
    import monai.inferers
    import monai.losses
    import monai.metrics
    import monai.networks.nets

    return monai


@pytest.fixture(scope="session")
def shared_kits19(tmp_path_factory):
    """Three labelled cases and an unlabelled one; not to be changed."""
    folder = tmp_path_factory.mktemp("shared") / "kits19"
    write_phantom(folder, labelled=3, unlabelled=1, size=64)
    return folder


@pytest.fixture
def kits19(shared_kits19, tmp_path):
    """A copy of the data set that a test may change."""
    return shutil.copytree(shared_kits19, tmp_path / "kits19")


@pytest.fixture(scope="session")
def checked(shared_kits19):
    """The cases of the shared data set as validation records them."""
    cases = find_cases(shared_kits19)
    return [check_case(case, maximum_voxels=10**7) for case in cases]
