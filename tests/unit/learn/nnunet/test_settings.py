"""What a recipe may say of nnU-Net: data, and no code."""

import pytest
from pydantic import ValidationError

from renal.learn.nnunet.settings import Planning


def planning(arguments):
    changes = {"batch_size": 4, "preprocessor_name": "DefaultPreprocessor"}
    architecture = {"arch_kwargs": arguments}
    return Planning(
        planner="ExperimentPlanner",
        configuration="2d",
        changes=changes | {"architecture": architecture},
    )


def test_the_size_of_its_network_can_be_changed():
    arguments = {"n_stages": 2, "strides": [[1, 1], [2, 2]], "dropout_op": None}
    assert planning(arguments).changes["architecture"]["arch_kwargs"] == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"nonlin": "os.system", "nonlin_kwargs": {}},
        {"nonlin_kwargs": {"command": "touch here"}},
        {"kernel_sizes": [["os.system"]]},
    ],
)
def test_no_name_reaches_what_it_imports(arguments):
    with pytest.raises(ValidationError, match="a name of code; numbers alone"):
        planning(arguments)
