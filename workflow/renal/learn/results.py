"""What a training leaves: model, history and an account of the run."""

import platform
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save

from renal.errors import InputError
from renal.files import replacing, write_json, write_text
from renal.learn.collapse import tell_if_nothing_was_learned
from renal.learn.datasets import Examples
from renal.learn.distributed import processes

if TYPE_CHECKING:
    from renal.learn.run import Run


def write_results(
    output: Path,
    run: "Run",
    examples: Examples,
    validation: Examples,
    folders: list[Path],
    fingerprint: str,
    device: torch.device,
) -> None:
    """Write model.safetensors, history.csv, drawing.csv where there is one, and run.json.

    Parameters
    ----------
    output : Path
        Folder of the model.
    run : Run
        At its end, with the weights that are kept.
    examples, validation : Examples
        What was learned from and what was watched.
    folders : list of Path
        Prepared batches that both are of. The names of the two folders above them tell grid and
        intensities.
    fingerprint : str
        Of all that decided the model.
    device : torch.device
        Where it was trained.

    Raises
    ------
    InputError
        If the last update left parameters that are not numbers.
    """
    network, progress, settings = run.network, run.progress, run.settings
    weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    if not all(weights[name].isfinite().all() for name, _ in network.named_parameters()):
        raise InputError(
            f"{output}: the network's parameters are not numbers after the last update: "
            "lower the learning rate in config.yaml's overrides"
        )
    with replacing(output / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))
    rows = [{key: f"{value:.6g}" for key, value in row.items()} for row in progress.history]
    _write_csv(output / "history.csv", rows)
    drawn = run.drawing.table()
    if drawn is None:
        (output / "drawing.csv").unlink(missing_ok=True)  # of other settings
    else:
        _write_csv(output / "drawing.csv", drawn)
    on_gpu = device.type == "cuda"
    write_json(
        output / "run.json",
        {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(progress.seconds, 1),
            "epochs": progress.epoch,
            "kept_epoch": progress.kept,
            "cases": [case.name for case in examples.cases],
            "validation_cases": [case.name for case in validation.cases],
            "seed": run.seed,
            "settings": settings.model_dump(mode="json"),
            "prepared": "/".join(folders[0].parts[-3:-1]),
            "fingerprint": fingerprint,
            "commit": _commit(),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
            "processes": processes(),
            "threads": torch.get_num_threads(),
            "peak_memory_mb": round(
                torch.cuda.max_memory_allocated(device) / 2**20
                if on_gpu
                else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            ),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )
    tell_if_nothing_was_learned(run, output)


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def _commit() -> str | None:
    """The commit of this repository, with a + where files differ from it; None outside of one."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
