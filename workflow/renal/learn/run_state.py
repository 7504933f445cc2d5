"""The running state of a training: what a stopped run needs to go on as if it had not stopped."""

import hashlib
import io
import json
import logging
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from renal.files import replacing
from renal.labels import KITS19, Labels
from renal.learn.datasets import Examples

if TYPE_CHECKING:
    from renal.learn.settings import Training

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run has come: stored in its state, and the source of history.csv."""

    epoch: int = 0
    seconds: float = 0.0
    kept: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    collapse: dict[str, float] = field(default_factory=dict)  # its signs: renal.learn.collapse


def fingerprint_of(
    settings: "Training",
    examples: Examples,
    folders: list[Path],
    seed: int,
    code: str,
    labels: Labels = KITS19,
) -> str:
    """Hash of all that decides the model: a state with another one is not continued."""
    digest = hashlib.sha256()
    names = [case.name for case in examples.cases]
    regions = {region.name: region.labels for region in labels.regions}
    # Without defaults, so that a schema that grows by an optional key does not end a run.
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True)
    digest.update(json.dumps([values, names, seed, regions], sort_keys=True).encode())
    digest.update(code.encode())
    for folder in sorted(folders):
        # Size and time of writing stand for the content: reading it all would take minutes.
        for path in sorted(Path(folder).glob("[!.]*")):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def read_state(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state stored at `path`; None if there is none, it is damaged, or it is another run's.

    On the CPU, from where the network and the optimiser take it to where it belongs: steps that
    Adam counts on a GPU would make the host wait for it twice for each tensor in every update.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare its checksums
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["fingerprint"]
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:200]
        log.warning("%s: cannot be used (%s): starting from the first epoch", path, reason)
        return None
    if found != fingerprint:
        log.info("%s: made with other settings, data or code: starting from the first epoch", path)
        return None
    return state


def write_state(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Store the state in one step, so that a kill leaves the old one or the new one."""
    content = io.BytesIO()  # torch's own writing to a full disk ends in no OSError
    torch.save({"fingerprint": fingerprint, **state}, content)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
