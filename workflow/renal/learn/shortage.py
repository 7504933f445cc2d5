"""What is told where a GPU has too little memory."""

import torch

from renal.errors import InputError


def too_little(device: torch.device, advice: str) -> InputError:
    """The line that says so, with advice that is not to buy another card."""
    _, total = torch.cuda.mem_get_info(device)
    return InputError(
        f"the GPU's {total / 1e9:.0f} GB are too little memory: {advice}, or use a card with more"
    )
