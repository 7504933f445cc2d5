"""Where networks run, and how: their precision, and what a GPU is told to do for speed."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from renal.learn.settings import Prediction, Training

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def choose_device(*, bfloat16_on_cpu: bool) -> tuple[torch.device, torch.dtype]:
    """The GPU if there is one, else the CPU, and the precision of forward passes there.

    Parameters
    ----------
    bfloat16_on_cpu : bool
        Mixed precision without a GPU. A GPU uses bfloat16 wherever it has it in hardware, and where
        it has tensor cores for float16 alone (Volta, Turing) that.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu"), torch.bfloat16 if bfloat16_on_cpu else torch.float32
    # With its number: what other threads put on "cuda" goes to the first GPU.
    device = torch.device("cuda", torch.cuda.current_device())
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return device, torch.bfloat16
    has_float16 = torch.cuda.get_device_capability(device) >= (7, 0)
    return device, torch.float16 if has_float16 else torch.float32


def work_on(device: torch.device) -> None:
    """Make a GPU this thread's own: memory is pinned by way of the one that is current."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. Through pinned memory, so that the host need not wait for a GPU."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def forward_pass(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Within it, networks compute in `precision`; losses belong outside, in float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def place(network: nn.Module, settings: "Training | Prediction", device: torch.device) -> None:
    """Move a network to its device and, on a GPU, accelerate it as the recipe says."""
    network.to(device)
    if device.type != "cuda":
        return
    asked = settings.acceleration
    torch.backends.cudnn.benchmark = asked.benchmark
    last = settings.network.channels_last if asked.channels_last is None else asked.channels_last
    if last:
        lay_channels_last(network)
    if asked.compile:
        network.compile()


def lay_channels_last(network: nn.Module, precision: torch.dtype = torch.float32) -> None:
    """Lay out a network's kernels with channels innermost; what convolutions give follows them.

    Parameters
    ----------
    network : torch.nn.Module
        Is changed: kernels, (out, in, [z,] y, x), have other strides, and those of `precision`.
    precision : torch.dtype
        What kernels are stored in, float32 where they go on learning. In that of the forward pass
        autocast need not convert them anew in each.
    """
    for parameter in network.parameters():
        if parameter.dim() in CHANNELS_LAST:
            layout = CHANNELS_LAST[parameter.dim()]
            parameter.data = parameter.data.to(precision, memory_format=layout)
