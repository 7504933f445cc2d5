"""The reference pages: configuration, recipes, command line and functions, from the program."""

import argparse
import os
from pathlib import Path
from typing import Any

from renal.__main__ import parser
from renal.recipe.schema import schema_of

TITLES = {"config": "Configuration", "recipe": "Recipes"}
INTRODUCTIONS = {
    "config": """
Whatever `config.yaml` may hold. These are its defaults, with what they mean:

```{literalinclude} ../../config.yaml
:language: yaml
```
""",
    "recipe": """
Whatever a file in `workflow/methods` may hold. `docs/recipes.md` says which paper asks for what,
`docs/adding-a-method.md` how a recipe is written. A section that has a `name` is a component.
""",
}
# What other programs may call: the rooms whose functions stand by themselves.
FUNCTIONS = {
    "Labels and regions": ["renal.labels"],
    "Volumes": ["renal.image.volume", "renal.image.grids", "renal.image.components"],
    "Cases": ["renal.data.cases", "renal.data.phantom"],
    "Recipes": ["renal.recipe.configuration", "renal.recipe.reading", "renal.recipe.parts"],
    "Files between steps": [
        "renal.handover.checked",
        "renal.handover.prepared",
        "renal.handover.predictions",
        "renal.handover.seals",
    ],
    "Metrics and comparison": [
        "renal.evaluate.metrics",
        "renal.evaluate.statistics",
        "renal.evaluate.comparison",
    ],
    "Packages and archives": [
        "renal.apply.package",
        "renal.apply.stages",
        "renal.apply.archive",
        "renal.apply.verify",
    ],
}


def write_pages(folder: Path) -> None:
    """Write all reference pages into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {f"{kind}.md": schema_page(kind) for kind in TITLES}
    pages |= {"command-line.md": command_page(), **function_pages()}
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # an unchanged page is not read again
            path.write_text(text)


def schema_page(kind: str) -> str:
    """A page with a table for each section that a schema defines."""
    schema = schema_of(kind)
    sections = {TITLES[kind]: schema, **schema["$defs"]}
    parts = [f"# {TITLES[kind]}", INTRODUCTIONS[kind]]
    for title, section in sections.items():
        if "properties" not in section:
            continue
        described = section.get("description", "").partition("\n\nAttributes\n")[0]
        named = section["properties"].get("name", {}).get("const")
        heading = f"## {title}" if section is not schema else "## At the top"
        parts += [heading, f"`name: {named}`. {described}" if named else described, ""]
        parts += ["| key | value | default |", "|---|---|---|"]
        for key, value in section["properties"].items():
            default = f"`{_written(value['default'])}`" if "default" in value else ""
            if key in section.get("required", []):
                default = "needed"
            parts.append(f"| `{key}` | {_type(value)} | {default} |")
        parts.append("")
    return "\n".join(parts)


def _type(value: dict[str, Any]) -> str:
    """What a key may hold, in words, with links to the sections it may be."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if choices := value.get("anyOf", value.get("oneOf")):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if value.get("type") == "array":
        items = value.get("prefixItems")
        if items:
            return f"list of {len(items)}: " + ", ".join(dict.fromkeys(map(_type, items)))
        return "list of " + (_type(value["items"]) if "items" in value else "anything")
    if value.get("type") == "object":
        further = value.get("additionalProperties")
        kinds = [*value.get("patternProperties", {}).values(), further]
        named = next((kind for kind in kinds if isinstance(kind, dict)), {})
        return "mapping of " + (_type(named) if named else "anything")
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    told = [f"{words} {value[key]}" for key, words in limits.items() if key in value]
    kind = {"null": "nothing", "string": "text"}.get(value.get("type", ""), value.get("type"))
    return " ".join([str(value.get("format", kind) or "anything"), *told])


def _written(default: Any) -> str:
    if default is None:
        return "null"
    return str(default).lower() if isinstance(default, bool) else str(default)


def command_page() -> str:
    """A page with the help of every command."""
    os.environ["COLUMNS"] = "90"
    top = parser()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    parts = ["# Command line", "", "`python -m renal`, or `renal` once installed.", ""]
    for name, command in commands.choices.items():
        text = command.format_help() if name != "run" else f"usage: {top.prog} run ...\n"
        described = command.description or "Run the workflow here; all arguments are Snakemake's."
        parts += [f"## {name}", "", described, "", "```text", text.rstrip(), "```", ""]
    return "\n".join(parts)


def function_pages() -> dict[str, str]:
    """Pages with the functions and classes of the modules that others may use, and their list."""
    pages = {}
    for title, modules in FUNCTIONS.items():
        parts = [f"# {title}", ""]
        for module in modules:
            parts += [f"## {module}", "", "```{eval-rst}", f".. automodule:: {module}"]
            parts += ["   :members:", "```", ""]
        pages[f"{title.lower().replace(' ', '-')}.md"] = "\n".join(parts)
    listed = ["# Functions", "", "Arrays are (z, y, x), lengths are millimetres.", ""]
    listed += ["```{toctree}", ":maxdepth: 2", "", *pages, "```", ""]
    return {"functions.md": "\n".join(listed), **pages}
