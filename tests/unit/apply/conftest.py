"""A row of tiny networks with random weights, packed."""

from pathlib import Path

import pytest
import torch
from random_models import write_results

from renal.apply.export import export
from renal.apply.package import read_package
from renal.recipe import check_configuration

from ..recipe.helpers import configuration_values

TINY = {
    "whole": {"geometry": {"size": [16, 32, 32]}, "training": {"network": {"width": 2}}},
    "tumour": {"geometry": {"size": [16, 32, 32]}, "training": {"network": {"width": 2}}},
}


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


def tiny_configuration(folder: Path, **changes):
    values = configuration_values() | {"results": str(folder / "results")}
    values["folds"] = {"count": 2, "seed": 0}
    values["overrides"] = {"resvnet": {"stages": TINY}}
    return check_configuration(values | changes)


@pytest.fixture(scope="session")
def packed(tmp_path_factory, checked) -> Path:
    """The package of a tiny resvnet; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    configuration = tiny_configuration(folder)
    write_results(configuration, [case for case in checked if case.labelled])
    export("resvnet", configuration, folder / "resvnet.renal")
    return folder / "resvnet.renal"


@pytest.fixture
def opened(packed):
    return read_package(packed)
