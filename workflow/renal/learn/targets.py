"""What a stage learns, and what its network's channels mean."""

from typing import TYPE_CHECKING

from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from torch import Tensor

    from renal.learn.settings import Target


def channels_of(target: "Target", labels: Labels = KITS19) -> tuple[str, ...]:
    """Names of the channels of a network that learns `target`, in order."""
    if target == "classes":
        return ("background", *(labels.tissues[value] for value in sorted(labels.tissues)))
    return maps_of(target, labels)


def maps_of(target: "Target", labels: Labels = KITS19) -> tuple[str, ...]:
    """Names of the regions that are predicted, in order: those of `classes` overlap as they do."""
    if isinstance(target, tuple):
        return target
    known = {"classes": labels.names, "slices": labels.names[:1]}
    return known.get(target, (target,))


def encode(label: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Turn label maps into what a network's channels are compared with.

    Parameters
    ----------
    label : torch.Tensor
        (batch, 1, z, y, x) float label maps.
    target : Target
        The recipe's target: one map or several; ``classes`` as one channel a label value;
        ``slices`` as whether the (batch, 1, 1, y, x) slice holds anything.
    labels : Labels
        What the label values mean.

    Returns
    -------
    torch.Tensor
        (batch, channels, z, y, x) float, 0 or 1; (batch, 1, 1, 1, 1) for ``slices``.
    """
    if target == "classes":
        return _joined([label == value for value in (0, *sorted(labels.tissues))]).to(label)
    masks = _joined([labels.region(name).mask(label) for name in maps_of(target, labels)])
    if target == "slices":
        masks = masks.amax((2, 3, 4), keepdim=True)
    return masks.to(label)


def _joined(channels: list["Tensor"]) -> "Tensor":
    import torch

    return channels[0] if len(channels) == 1 else torch.cat(channels, dim=1)


def foreground_maps(encoded: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Bool (batch, maps, z, y, x) of the maps of `target` from what `encode` gave."""
    if target != "classes":
        return encoded > 0
    return _joined([_share_of(encoded, region.labels, labels) > 0 for region in labels.regions])


def probabilities(logits: "Tensor", target: "Target", labels: Labels = KITS19) -> "Tensor":
    """Probabilities of the maps of `target` from a network's logits, (batch, maps, z, y, x) float.

    Of exclusive classes, a region is the sum of its label values, for kidney all but background.
    A region within another is its share of that one, though no more than that one itself: cutting
    both at a half gives the more probable of parenchyma and tumour where there is either.
    """
    logits = logits.float()
    if target != "classes":
        return logits.sigmoid()
    shares = logits.softmax(dim=1)
    sums, found = {}, {}
    for region in labels.regions:
        sums[region.name] = found[region.name] = _share_of(shares, region.labels, labels)
        outer = labels.outer(region)
        if outer is not None:
            share = sums[region.name] / sums[outer.name].clamp(min=1e-6)
            found[region.name] = share.minimum(found[outer.name])
    return _joined(list(found.values()))


def _share_of(classes: "Tensor", values: tuple[int, ...], labels: Labels) -> "Tensor":
    """Sum of the channels of some label values; of all of them, what the background leaves."""
    order = (0, *sorted(labels.tissues))
    if set(values) == set(labels.tissues):
        return 1 - classes[:, :1]
    first, *others = (classes.narrow(1, order.index(value), 1) for value in values)
    return sum(others, start=first)
