"""What config.yaml and a recipe may say: ``python -m renal.recipe.schema config`` prints it."""

import argparse
from typing import Any

import yaml

from renal.recipe.configuration import Configuration
from renal.recipe.method import Method

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of ``"config"`` or of a ``"recipe"``."""
    described = Configuration if kind == "config" else Method
    return {"$schema": DRAFT} | described.model_json_schema()


def main() -> None:
    """Print a schema as YAML."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=["config", "recipe"])
    print(yaml.safe_dump(schema_of(parser.parse_args().kind), sort_keys=False), end="")


if __name__ == "__main__":
    main()
