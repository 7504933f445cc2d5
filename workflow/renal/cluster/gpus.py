"""Which GPUs a step may use: some of those that are there which no other step uses."""

import fcntl
import logging
import os
import stat
import tempfile
import time
from itertools import takewhile
from pathlib import Path

from renal.errors import InputError

log = logging.getLogger(__name__)

DEVICES = Path("/dev")
BUILDS = "https://pytorch.org/get-started/locally"
SECONDS_BETWEEN_TRIES = 0.5
# Open files that hold the locks of this process's GPUs for as long as it lives.
_held: list[int] = []


def visible_gpus() -> list[str]:
    """GPUs of this machine, by the names that CUDA_VISIBLE_DEVICES gives them.

    Found without torch, whose import would cost every planning a second.

    Raises
    ------
    InputError
        If a negative number hides GPUs that are there, as programs leave it behind.
    """
    there = [str(number) for number in range(len(list(DEVICES.glob("nvidia[0-9]*"))))]
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return there
    names = [name.strip() for name in listed.split(",") if name.strip()]
    # CUDA ends the list there.
    shown = list(takewhile(lambda name: not name.startswith("-"), names))
    if names and not shown and there:
        raise InputError(
            f"CUDA_VISIBLE_DEVICES={listed} hides this machine's GPUs: unset it, or set it to "
            "nothing to compute on the CPU"
        )
    return shown


def claim_gpus(count: int = 1) -> int:
    """Make `count` GPUs the only ones that this process sees, and keep other steps off them.

    Waits until so many are free; takes all there are where that is fewer. Must be called before
    CUDA is used. On a machine without a GPU nothing is done.

    Parameters
    ----------
    count : int
        How many GPUs the step uses.

    Returns
    -------
    int
        How many it has.

    Raises
    ------
    InputError
        If torch cannot use them.
    """
    if names := visible_gpus():
        names = _wait_for(names, min(count, len(names)))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        refuse_unusable()
        log.info("GPU %s", ", ".join(names))
    return len(names)


def bfloat16_on_cpu(asked: bool) -> bool:
    """Whether a CPU, where there is no GPU, is to compute in bfloat16: if it has it in hardware.

    Emulated it takes more than twice as long as float32, which is taken instead, with a line.
    """
    if not asked or visible_gpus():
        return asked
    import torch

    has = torch.cpu.get_capabilities()
    if has["architecture"] != "x86_64" or has["avx512_bf16"] or has["amx_bf16"]:
        return True
    log.warning("this CPU has no bfloat16 (avx512_bf16 or amx_bf16): it computes in float32")
    return False


def refuse_unusable() -> None:
    """Stop where torch cannot use the GPUs that this process sees, as it would go on without them.

    Raises
    ------
    InputError
        With the reason and what to install.
    """
    import torch

    remedy = f"install another build ({BUILDS}), or set CUDA_VISIBLE_DEVICES= for the CPU"
    if torch.version.cuda is None:
        raise InputError(f"torch {torch.__version__} is a build for the CPU alone: {remedy}")
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()
            reason = "no GPU was found"
        except (RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split()).partition(". ")[0]
        raise InputError(
            f"torch {torch.__version__} for CUDA {torch.version.cuda} cannot use the GPU "
            f"({reason}): update the driver, {remedy}"
        )
    major, minor = torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    if not any(_runs_on(architecture, (major, minor)) for architecture in built):
        raise InputError(
            f"{torch.cuda.get_device_name()} is of architecture sm_{major}{minor}, for which torch "
            f"{torch.__version__} is not built ({', '.join(built)}): {remedy}"
        )


def _runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether code built for sm_<capability> or compute_<capability> runs on a GPU."""
    kind, _, number = architecture.partition("_")
    digits = number.rstrip("af")  # sm_90a runs on its own architecture alone
    built = (int(digits[:-1]), int(digits[-1]))
    if digits != number:
        return built == capability
    if kind == "compute":
        return built <= capability
    return built[0] == capability[0] and built[1] <= capability[1]


def _wait_for(names: list[str], count: int) -> list[str]:
    """Lock `count` of the GPUs: all at once, so that two waiting steps cannot block each other."""
    while True:
        taken: dict[str, int] = {}
        for name in names:
            lock = _locked(name) if len(taken) < count else None
            if lock is not None:
                taken[name] = lock
        if len(taken) == count:
            _held.extend(taken.values())
            return list(taken)
        for lock in taken.values():
            os.close(lock)
        time.sleep(SECONDS_BETWEEN_TRIES)


def _locked(name: str) -> int | None:
    """The GPU's lock file, open and locked; None while another process has it.

    Jobs of SLURM may each call another GPU by the same number, so each has locks of its own.
    """
    folder = _own_folder()
    job = os.environ.get("SLURM_JOB_ID", "local")
    file = f"{job}-gpu-{name.replace('/', '-')}.lock"
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
    os.set_inheritable(lock, True)  # kept where the process becomes torchrun's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _own_folder() -> int:
    """A folder among the temporary ones, open, in which nobody else can have put a link.

    Raises
    ------
    InputError
        If what has its name is no folder, or is open to others.
    """
    path = Path(tempfile.gettempdir()) / f"renal-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be used for the locks of GPUs ({error.strerror}): take it away, or "
            "set TMPDIR"
        ) from error
    status = os.fstat(folder)
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(folder)
        raise InputError(
            f"{path}: for the locks of GPUs, but open to others: take it away, or set TMPDIR"
        )
    return folder
