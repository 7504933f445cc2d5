"""Recipes that several tests look at, and a folder to load others from."""

from functools import partial

import pytest

from renal import recipe
from renal.recipe import reading
from tests.unit.recipe.helpers import configuration_values, recipes_of, write_recipe


@pytest.fixture(scope="session")
def resvnet() -> recipe.Method:
    return recipe.load_method("resvnet", {})


@pytest.fixture(scope="session")
def everything() -> dict[str, recipe.Method]:
    """All recipes of the repository."""
    return recipes_of(*sorted(path.stem for path in recipe.METHODS.glob("*.yaml")))


@pytest.fixture
def methods_in(tmp_path, monkeypatch):
    """Loads recipes that lie in an otherwise empty folder."""
    monkeypatch.setattr(reading, "load_method", partial(reading.load_method, folder=tmp_path))

    def load_all(
        *rows: str, overrides: dict | None = None, data: dict | None = None, **recipes: dict
    ):
        for name, values in recipes.items():
            write_recipe(tmp_path, name, values)
        values = configuration_values()
        configuration = {
            **values,
            "methods": list(rows),
            "overrides": overrides or {},
            "data": values["data"] | (data or {}),
        }
        return recipe.load_methods(recipe.check_configuration(configuration))

    return load_all
