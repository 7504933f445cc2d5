"""What a user may say, as JSON schema."""

import sys

import jsonschema
import pytest
import yaml

from renal.recipe import METHODS
from renal.recipe.schema import main, schema_of
from renal.sources import ROOT

STORED = ROOT / "workflow/schemas/config.schema.yaml"


def test_the_schema_that_the_catalog_shows_is_the_typed_configuration():
    remedy = f"python -m renal.recipe.schema config > {STORED}"
    assert yaml.safe_load(STORED.read_text()) == schema_of("config"), remedy


def test_what_is_printed_is_what_is_stored(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["schema", "config"])
    main()
    assert capsys.readouterr().out == STORED.read_text()


def test_the_configuration_that_comes_with_the_workflow_keeps_to_it():
    given = yaml.safe_load((ROOT / "config.yaml").read_text())
    jsonschema.validate(given, schema_of("config"))
    given["folds"]["count"] = 1
    with pytest.raises(jsonschema.ValidationError, match="less than the minimum"):
        jsonschema.validate(given, schema_of("config"))


@pytest.mark.parametrize("name", ["resvnet", "damnet", "tunet", "msvnet", "mrbnet"])
def test_recipes_keep_to_theirs(name):
    jsonschema.validate(yaml.safe_load((METHODS / f"{name}.yaml").read_text()), schema_of("recipe"))
