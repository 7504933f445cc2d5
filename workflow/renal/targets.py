"""What a stage learns, and what its network's channels mean."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from renal.recipe import Target


def channels_of(target: "Target") -> tuple[str, ...]:
    """Names of the channels of a network that learns `target`, in order."""
    if isinstance(target, tuple):
        return target
    known = {"classes": ("background", "kidney", "tumour"), "slices": ("whole",)}
    return known.get(target, (target,))


def maps_of(target: "Target") -> tuple[str, ...]:
    """Names of the maps that are predicted, in order: those of `classes` overlap as labels do."""
    return ("whole", "tumour") if target == "classes" else channels_of(target)


def foreground(label: Any, name: str) -> Any:
    """Where a label map, array or tensor, shows "whole" (1 and 2) or "tumour" (2)."""
    return label >= {"whole": 1, "tumour": 2}[name]


def encode(label: "Tensor", target: "Target") -> "Tensor":
    """Turn label maps into what a network's channels are compared with.

    Parameters
    ----------
    label : torch.Tensor
        (batch, 1, z, y, x) float, labels 0, 1 and 2.
    target : Target
        The recipe's target: one map or several; ``classes`` as one channel a label; ``slices`` as
        whether the (batch, 1, 1, y, x) slice holds anything.

    Returns
    -------
    torch.Tensor
        (batch, channels, z, y, x) float, 0 or 1; (batch, 1, 1, 1, 1) for ``slices``.
    """
    if target == "slices":
        return foreground(label, "whole").amax((2, 3, 4), keepdim=True).to(label)
    if target == "classes":
        channels = [label == number for number in range(3)]
    else:
        channels = [foreground(label, name) for name in maps_of(target)]
    return channels[0].to(label) if len(channels) == 1 else _joined(channels).to(label)


def _joined(channels: list["Tensor"]) -> "Tensor":
    import torch

    return torch.cat(channels, dim=1)


def foreground_maps(encoded: "Tensor", target: "Target") -> "Tensor":
    """Bool (batch, maps, z, y, x) of the maps of `target` from what `encode` gave."""
    if target != "classes":
        return encoded > 0
    return _joined([encoded[:, :1] == 0, encoded[:, 2:] > 0])


def probabilities(logits: "Tensor", target: "Target") -> "Tensor":
    """Probabilities of the maps of `target` from a network's logits, (batch, maps, z, y, x) float.

    Of exclusive classes, ``whole`` is kidney or tumour, and ``tumour`` the tumour's share of it,
    though no more than ``whole`` itself: cutting both at a half gives the more probable of kidney
    and tumour where there is either.
    """
    logits = logits.float()
    if target != "classes":
        return logits.sigmoid()
    shares = logits.softmax(dim=1)
    whole = 1 - shares[:, :1]
    share = shares[:, 2:] / whole.clamp(min=1e-6)
    return _joined([whole, share.minimum(whole)])
