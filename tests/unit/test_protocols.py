"""Components are looked up by name while a step runs, where no type checker sees them."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

import pytest
from pydantic import BaseModel

from renal.evaluate import merges
from renal.learn import (
    augmentations,
    drawings,
    inferers,
    losses,
    networks,
    optimizers,
    samplers,
    schedules,
)

BY_NAME = inspect.Parameter.KEYWORD_ONLY
BY_PLACE = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class Kind(NamedTuple):
    """A kind of component: its package, what a module of it provides, and what fits there.

    `called` is what the package calls first: a Protocol's `__call__`, or the constructor of a class
    whose methods are those of `methods`. `elsewhere` are settings that it leaves out.
    """

    package: ModuleType
    attribute: str
    called: Callable[..., Any]
    methods: type | None = None
    elsewhere: frozenset[str] = frozenset()


def make_sampler(self): ...


def make_drawing(self, examples): ...


KINDS = (
    Kind(losses, "loss", losses.Loss.__call__),
    Kind(samplers, "Sampler", make_sampler, samplers.Sampler),
    Kind(drawings, "Drawing", make_drawing, drawings.Drawing),
    Kind(augmentations, "transform", augmentations.Transform.__call__),
    Kind(optimizers, "optimizer", optimizers.MakesOptimizer.__call__),
    Kind(schedules, "factor", schedules.Factor.__call__),
    Kind(
        networks,
        "Network",
        networks.MakesNetwork.__call__,
        elsewhere=frozenset({"pretrained"}),
    ),
    Kind(inferers, "infer", inferers.Infer.__call__),
    Kind(merges, "merge", merges.Merge.__call__, elsewhere=frozenset({"maps"})),
)


def modules_of(kind: Kind) -> dict[str, ModuleType]:
    """Modules of a package that provide what it looks for, by name."""
    (folder,) = kind.package.__path__
    modules = {
        path.stem: importlib.import_module(f"{kind.package.__name__}.{path.stem}")
        for path in sorted(Path(folder).glob("[a-z]*.py"))
        if path.stem != "settings"
    }
    return {name: module for name, module in modules.items() if hasattr(module, kind.attribute)}


def settings_of(kind: Kind) -> dict[str, type[BaseModel]]:
    """What a recipe may say of each component, by the name that it has there."""
    schema = importlib.import_module(f"{kind.package.__name__}.settings")
    return {
        name: section
        for section in vars(schema).values()
        if isinstance(section, type) and issubclass(section, BaseModel)
        if "name" in section.model_fields
        for name in get_args(section.model_fields["name"].annotation)
    }


def short_name(kind: Kind) -> str:
    return kind.package.__name__.rpartition(".")[2]


COMPONENTS = [
    pytest.param(kind, name, getattr(module, kind.attribute), id=f"{short_name(kind)}.{name}")
    for kind in KINDS
    for name, module in modules_of(kind).items()
]


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    return [parameter for parameter in parameters if parameter.name != "self"]


@pytest.mark.parametrize("kind", KINDS, ids=short_name)
def test_each_name_in_recipes_is_that_of_a_module_that_provides_the_component(kind):
    assert sorted(settings_of(kind)) == list(modules_of(kind))


@pytest.mark.parametrize(("kind", "name", "component"), COMPONENTS)
def test_a_component_takes_what_its_package_gives_and_the_settings_of_its_name(
    kind, name, component
):
    given = parameters_of(kind.called)
    by_place = [parameter.name for parameter in given if parameter.kind in BY_PLACE]
    by_name = {parameter.name for parameter in given if parameter.kind == BY_NAME}
    fields = set(settings_of(kind)[name].model_fields) - {"name"} - kind.elsewhere

    taken = parameters_of(component)
    assert {parameter.kind for parameter in taken} <= {*BY_PLACE, BY_NAME}
    first, others = taken[: len(by_place)], taken[len(by_place) :]
    assert [parameter.name for parameter in first] == by_place
    assert {parameter.kind for parameter in first} <= BY_PLACE
    assert {parameter.name for parameter in others} == by_name | fields
    assert len(others) == len(by_name) + len(fields), "a setting has the name of something given"


@pytest.mark.parametrize(
    ("kind", "name", "component"), [c for c in COMPONENTS if c.values[0].methods]
)
def test_the_methods_of_a_component_take_what_those_of_its_protocol_do(kind, name, component):
    wanted = {
        method: function
        for method, function in vars(kind.methods).items()
        if inspect.isfunction(function) and not method.startswith("_")
    }
    assert wanted
    for method, function in wanted.items():
        taken, expected = parameters_of(getattr(component, method)), parameters_of(function)
        assert [(p.name, p.kind) for p in taken] == [(p.name, p.kind) for p in expected], method
