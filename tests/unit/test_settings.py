"""Settings as values: hashes that change with every value, and with nothing else."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from renal import recipe
from renal.settings import Size, Strict, UsablePath, settings_hash


@pytest.fixture(scope="module")
def resvnet() -> recipe.Method:
    return recipe.load_method("resvnet", {})


def test_settings_hash_is_stable_and_differs_with_every_value(resvnet):
    geometry = resvnet.stages["whole"].geometry
    again = recipe.load_method("resvnet", {}).stages["whole"].geometry
    other = recipe.load_method(
        "resvnet", {"stages": {"whole": {"geometry": {"body": {"opening_mm": 6}}}}}
    )
    assert settings_hash(geometry) == settings_hash(again)
    assert settings_hash(geometry) != settings_hash(other.stages["whole"].geometry)
    assert settings_hash(geometry, None) != settings_hash(geometry)
    assert len(settings_hash(geometry)) == 8
    int(settings_hash(geometry), 16)


def test_settings_hash_does_not_change_from_one_version_to_the_next():
    # Folders of results are named by it: another rule would compute everything anew.
    class Example(Strict):
        size: Size
        label: str | None = None

    class Grown(Example):
        colour: str = "green"

    # printf '[{"size": [1, 2, 3]}, null]' | sha256sum
    assert settings_hash(Example(size=(1, 2, 3)), None) == "4ab02ad2"
    assert settings_hash(Grown(size=(1, 2, 3)), None) == "4ab02ad2"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("{case}/images", "use a path without { and }"),
        ("-images", "write a full path"),
        ("images\n", "use a path without them"),
        ("~nobody_of_this_name/images", "there is no such user: write the full path"),
    ],
)
def test_paths_that_a_command_or_a_rule_cannot_take_are_refused(path, told):
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(UsablePath).validate_python(path)


def test_the_home_folder_stands_for_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert TypeAdapter(UsablePath).validate_python("~/images") == Path("/home/me/images")
