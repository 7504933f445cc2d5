"""Where networks run, and at which precision."""

import torch


def choose_device(*, bfloat16_on_cpu: bool) -> tuple[torch.device, bool]:
    """The GPU if there is one, else the CPU, and whether to compute in bfloat16 there.

    Parameters
    ----------
    bfloat16_on_cpu : bool
        Mixed precision without a GPU. A GPU uses it wherever it has it in hardware.
    """
    if torch.cuda.is_available():
        # With its number: what other threads put on "cuda" goes to the first GPU.
        device = torch.device("cuda", torch.cuda.current_device())
        return device, torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.device("cpu"), bfloat16_on_cpu
