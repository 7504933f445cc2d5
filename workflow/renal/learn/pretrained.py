"""Weights that were trained elsewhere."""

import hashlib
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn

from renal.errors import InputError
from renal.files import replacing

if TYPE_CHECKING:
    from renal.learn.networks.base_settings import Pretrained


SECONDS_TO_ANSWER = 30


class BeginsPretrained(Protocol):
    """A network whose settings may name a file of weights."""

    def load_pretrained(self, state: Mapping[str, Any]) -> None:
        """Take what fits of a state dict; `InputError` where it does not fit."""


def download(settings: "Pretrained", output: Path) -> None:
    """Fetch a recipe's file of weights and check it.

    Parameters
    ----------
    settings : Pretrained
        Address, and the SHA-256 that the file must have.
    output : Path
        Where to put it.

    Raises
    ------
    InputError
        If it cannot be fetched, with what to put where instead; or if it is another file.
    """
    try:
        with urllib.request.urlopen(settings.url, timeout=SECONDS_TO_ANSWER) as stream:
            content = stream.read()
    except (OSError, HTTPException) as error:
        raise InputError(
            f"{output}: cannot be downloaded ({error}): fetch {settings.url} on a machine with a "
            f"network and put it at {output}, or set pretrained: false in the recipe's network"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(settings.sha256):
        raise InputError(
            f"{output}: {settings.url} gave another file, perhaps a proxy's page: its SHA-256 is "
            f"{found}, but must begin with {settings.sha256}: put the right file at {output}, or "
            "set pretrained: false in the recipe's network"
        )
    with replacing(output) as temporary:
        temporary.write_bytes(content)


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
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}): put {settings.url} there") from error
    if not found.startswith(settings.sha256):
        raise InputError(
            f"{path}: its SHA-256 is {found}, but must begin with {settings.sha256}: "
            f"put {settings.url} there"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: not a file of weights ({reason}): put {settings.url} there"
        ) from error
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: not a state dict: put {settings.url} there")
    try:
        cast(BeginsPretrained, network).load_pretrained(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
