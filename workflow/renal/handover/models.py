"""Models: where a training leaves its weights and its account of itself."""

from pathlib import Path


def model_file(results: Path, method: str, stage: str, fold: str) -> Path:
    """The weights of a stage of a method that was trained without a fold, such as ``fold0``."""
    return results / method / stage / fold / "model.safetensors"
