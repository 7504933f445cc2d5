"""Denormal numbers, those below 1.2e-38, in trainings on a CPU.

Gradients of that size move no weight: the training loop runs within this and knows nothing of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Within it, this thread and those that it starts take denormal numbers for 0.

    Gradients are full of them where a network is sure, and a CPU computes many times slower with
    them. Around trainings alone: building scipy's k-d tree crashes where they are 0.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
