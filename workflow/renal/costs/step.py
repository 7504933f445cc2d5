"""What a training step needs of a GPU, and a prediction, counted before there is one.

The real network and loss run forwards and backwards at the paper's size on torch's meta tensors,
which have a shape, a dtype and no memory. A mode below autograd sees every operator: its FLOPs by
torch's own formulas, the bytes that it reads and writes, and what lies in memory at once.
"""

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from renal.costs.sizes import BYTES_OF_A_PARAMETER
from renal.labels import KITS19, Labels
from renal.learn.losses import Truth, training_loss
from renal.learn.mean_predictor import ways_on
from renal.learn.networks import build_network
from renal.learn.targets import encode, probabilities

if TYPE_CHECKING:
    from renal.learn.settings import Prediction, Training

HALF = torch.bfloat16
# As CUDA's autocast has them (torch's documentation, "CUDA Ops that can autocast"); the others
# compute in the widest type that they are given. Group normalisation and doubling by nearest
# neighbours stay as they are: learn/networks/own_precision.py.
IN_HALF = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "matmul", "addmm", "bmm", "prelu"),
}
IN_FULL = {"softmax", "log_softmax", "sum", "prod", "cumsum", "pow", "exp", "log", "norm"}
WITHOUT_KERNEL = {"detach", "alias", "lift_fresh", "set_", "_unsafe_view"}


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes
    ----------
    flops : float
        Additions and multiplications.
    bytes : int
        Read and written.
    """

    flops: float
    bytes: int


@dataclass(frozen=True)
class Step:
    """A training step on one batch.

    Attributes
    ----------
    forward : tuple of Operator
        Of the network alone.
    backward : tuple of Operator
        All others: the loss, the gradients, the update.
    peak : int
        Bytes of a GPU's memory that are taken at most, without cuDNN's workspace and without
        prepared cases.
    """

    forward: tuple[Operator, ...]
    backward: tuple[Operator, ...]
    peak: int


def count_step(training: "Training", size: tuple[int, int, int], labels: Labels = KITS19) -> Step:
    """Count a step of a training in half precision.

    Parameters
    ----------
    training : Training
        The recipe's section.
    size : tuple of int
        Voxels (z, y, x) of an example; of slices, how many neighbours they have along z.
    labels : Labels
        The scheme that has the regions it learns.
    """
    shared = -(-training.batch_size // training.gpus)
    image = torch.empty(shared, 1, *size, device="meta")
    deep = 1 if training.sampler.flat else size[0]
    label = torch.empty(shared, 1, deep, *size[1:], device="meta")
    account = _Account()
    with torch.device("meta"), account:
        network = build_network(training.network, training.sampler.channels, training.target)
        network.to("meta")  # some keep constants elsewhere
        parameters = list(network.parameters())
        numbers = sum(parameter.numel() for parameter in parameters)
        states = training.optimizer.states
        account.hold(BYTES_OF_A_PARAMETER * numbers * states)
        account.take()  # the network's beginning is no step's
        truth = Truth(encode(label, training.target, labels), label, image, 0)
        before = account.take()
        with _HalfPrecision():
            outputs = network.train()(image.to(HALF))
        forward = account.take()
        training_loss(outputs, truth, training).backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch.nn.utils.get_total_norm(gradients)
    # The update reads parameters, gradients and states, and writes all but gradients.
    update = Operator(0, BYTES_OF_A_PARAMETER * numbers * (3 + 2 * states))
    return Step(tuple(forward), (*before, *account.take(), update), account.peak)


def count_prediction(
    settings: "Prediction", size: tuple[int, int, int], labels: Labels = KITS19
) -> int:
    """Bytes of a GPU that a prediction takes at most, if it has room for all that goes at once.

    In half precision, by one model, without cuDNN's workspace and what is put together of a case.

    Parameters
    ----------
    settings : Prediction
        The recipe's section.
    size : tuple of int
        Voxels (z, y, x) that the network sees; of slices, how many neighbours they have along z.
    labels : Labels
        The scheme that has the regions it finds.
    """
    inference = settings.inference
    _, times = ways_on(torch.device("cuda"), inference)[0]
    images = torch.empty(times * inference.at_once, 1, *size, dtype=HALF, device="meta")
    account = _Account()
    account.hold(images.nbytes)
    with torch.inference_mode(), torch.device("meta"), account:
        network = build_network(settings.network, settings.channels_in, settings.target)
        with _HalfPrecision():
            logits = network.to("meta").eval()(images)[-1]
        probabilities(logits, settings.target, labels)
    return account.peak


class _HalfPrecision(TorchFunctionMode):
    """What autocast does on CUDA, for tensors of any device."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if function is functional.dropout:  # on CUDA one kernel, which keeps a mask of bytes
            return torch.native_dropout(args[0], kwargs["p"], kwargs["training"])[0]
        smooth = function is functional.interpolate and kwargs["mode"] != "nearest"
        if function is functional.group_norm:  # as learn/networks/own_precision.py has it on CUDA
            kwargs = tree_map_only(Tensor, lambda tensor: tensor.to(args[0].dtype), kwargs)
        kind = HALF if name in IN_HALF else torch.float32 if smooth or name in IN_FULL else None
        if kind is not None:
            args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to(kind), (args, kwargs))
        return function(*args, **kwargs)


class _Account(TorchDispatchMode):
    """Operators and memory of all that happens within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._seen: list[Operator] = []

    def take(self) -> list[Operator]:
        """What was seen since the last time."""
        seen, self._seen = self._seen, []
        return seen

    def hold(self, size: int) -> None:
        """Count bytes that lie there all the time."""
        self.live += size

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in results:
            self._track(tensor)
        name = function._overloadpacket.__name__
        computes = function.namespace == "aten" and not function.is_view
        if computes and name not in WITHOUT_KERNEL and "empty" not in name:
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in [*given, *results])
            formula = flop_registry.get(function._overloadpacket)
            flops = formula(*args, **kwargs, out_val=result) if formula else 0
            self._seen.append(Operator(flops, moved))
        return result

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            self._sizes[key] = size
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)
