"""What is told where a GPU has too little memory."""

import torch

from renal.cluster.processes import MetAlone


def too_little(device: torch.device, advice: str) -> MetAlone:
    """The line that says so, with advice that is not to buy another card."""
    _, total = torch.cuda.mem_get_info(device)
    return MetAlone(
        f"the GPU's {total / 1e9:.0f} GB are too little memory: {advice}, or use a card with more"
    )
