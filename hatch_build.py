"""Writes into a built package which commit it was made from, for `renal --version`."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = {"wheel": "renal/commit.txt", "sdist": "workflow/renal/commit.txt"}


class CommitHook(BuildHookInterface):
    """Adds commit.txt; what is built from a source distribution finds it there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Ask git, where there is a clone. An editable package is a clone, which is asked later."""
        if version == "editable" or not Path(self.root, ".git").exists():
            return
        git = ["git", "-C", self.root, "describe", "--always", "--dirty", "--abbrev=12"]
        told = subprocess.run(git, check=True, capture_output=True, text=True).stdout
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
            file.write(told)
        build_data["force_include"][file.name] = PLACE[self.target_name]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the temporary file away."""
        for source in build_data["force_include"]:
            if Path(source).parent == Path(tempfile.gettempdir()):
                Path(source).unlink()
