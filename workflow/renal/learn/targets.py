"""What a stage learns, and what its network's channels mean."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from torch import Tensor

    from renal.learn.settings import Target


def classes_of(target: "Target") -> tuple[str, ...]:
    """Regions that a softmax tells apart by their exclusive parts; empty for other targets."""
    if target == "classes":
        return KITS19.names
    return () if isinstance(target, str | tuple) else target.classes


def channels_of(target: "Target", labels: Labels = KITS19) -> tuple[str, ...]:
    """Names of the channels of a network that learns `target`, in order."""
    maps = maps_of(target, labels)
    return ("background", *maps) if classes_of(target) else maps


def maps_of(target: "Target", labels: Labels = KITS19) -> tuple[str, ...]:
    """Names of the regions that are predicted, in order: those of `classes` overlap as they do."""
    if isinstance(target, str) and target != "classes":
        return labels.names[:1] if target == "slices" else (target,)
    return target if isinstance(target, tuple) else classes_of(target)


def encode(label: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Turn label maps into what a network's channels are compared with.

    Parameters
    ----------
    label : torch.Tensor
        (batch, 1, z, y, x) float label maps.
    target : Target
        The recipe's target: one map or several; ``classes`` as background and a channel for each
        region without those within it; ``slices`` as whether the (batch, 1, 1, y, x) slice holds
        anything.
    labels : Labels
        What the label values mean.

    Returns
    -------
    torch.Tensor
        (batch, channels, z, y, x) float, 0 or 1; (batch, 1, 1, 1, 1) for ``slices``.
    """
    if names := classes_of(target):
        own = labels.classes(names)
        parts = [reduce(or_, (label == value for value in own[name])) for name in names]
        return _joined([label == 0, *parts]).to(label)
    masks = _joined([labels.region(name).mask(label) for name in maps_of(target, labels)])
    if target == "slices":
        masks = masks.amax((2, 3, 4), keepdim=True)
    return masks.to(label)


def _joined(channels: list["Tensor"]) -> "Tensor":
    import torch

    return channels[0] if len(channels) == 1 else torch.cat(channels, dim=1)


def foreground_maps(encoded: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Bool (batch, maps, z, y, x) of the maps of `target` from what `encode` gave."""
    names = classes_of(target)
    if not names:
        return encoded > 0
    return _joined([_share_of(encoded, name, names, labels) > 0 for name in names])


def probabilities(logits: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Probabilities of the maps of `target` from a network's logits, (batch, maps, z, y, x) float.

    Of exclusive classes, a region is the sum of its parts, for kidney all but background. A region
    within another is its share of that one, though no more than that one itself: cutting both at a
    half gives the more probable of parenchyma and tumour where there is either.
    """
    logits, names = logits.float(), classes_of(target)
    if not names:
        return logits.sigmoid()
    shares = logits.softmax(dim=1)
    sums, found = {}, {}
    for name in names:
        sums[name] = found[name] = _share_of(shares, name, names, labels)
        outer = labels.outer(labels.region(name), names)
        if outer is not None:
            share = sums[name] / sums[outer.name].clamp(min=1e-6)
            found[name] = share.minimum(found[outer.name])
    return _joined(list(found.values()))


def _share_of(classes: "Tensor", name: str, names: tuple[str, ...], labels: Labels) -> "Tensor":
    """Sum of the channels of a region's parts; of all of them, what the background leaves."""
    values = set(labels.region(name).labels)
    within = [n for n in names if set(labels.region(n).labels) <= values]
    if len(within) == len(names):
        return 1 - classes[:, :1]
    first, *others = (classes.narrow(1, 1 + names.index(part), 1) for part in within)
    return sum(others, start=first)
