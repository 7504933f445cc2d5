"""Weights that were trained elsewhere."""

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from renal.errors import InputError

if TYPE_CHECKING:
    from renal.recipe import Pretrained


def load_pretrained(network: nn.Module, path: Path, settings: "Pretrained") -> None:
    """Give a network the weights of a file, by its own method `load_pretrained`.

    Parameters
    ----------
    network : torch.nn.Module
        Fresh, on the CPU.
    path : Path
        A state dict as ``torch.save`` writes it.
    settings : Pretrained
        The recipe's file, and the SHA-256 that it must have.

    Raises
    ------
    InputError
        If the file is missing or another one, or does not fit the network.
    """
    check_file(path, settings)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a file of weights ({error}): download it again") from error
    try:
        network.load_pretrained(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_file(path: Path, settings: "Pretrained") -> None:
    """Compare a file's SHA-256 with the recipe's.

    Raises
    ------
    InputError
        If they differ, or there is no file.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}): put {settings.url} there") from error
    if not found.startswith(settings.sha256):
        raise InputError(
            f"{path}: its SHA-256 is {found}, but must begin with {settings.sha256}: put {settings.url} there"
        )
