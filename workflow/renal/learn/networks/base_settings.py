"""What is known of every network before it is built, and of weights that one may begin with."""

import math
from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import Field

from renal.settings import Extent, Size, Strict, UsablePath


class Pretrained(Strict):
    """Weights to begin with: where they lie, from where they come, and their SHA-256.

    Eight or more of its first digits: those are part of the names of PyTorch's files.
    """

    file: UsablePath
    url: Annotated[str, Field(pattern=r"^https://[^\s'\"]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class NetworkSettings(Strict):
    """Traits of a network.

    Attributes
    ----------
    outputs : int or None
        How many channels it gives, where that is fixed.
    cascaded : bool
        Whether it gives several maps, each found with the help of the one before.
    classifies : bool
        Whether it tells of whole slices whether they hold anything, and not of voxels.
    flat : bool
        Whether it works on slices.
    divisor : tuple of int
        What its input's size (z, y, x) must be multiples of.
    kilobytes : float
        Memory that a voxel of a batch takes in training, in kB, measured on a CPU in bfloat16 at
        the width of the recipe.
    normalizes_space : bool
        Whether it normalises over the voxels of a channel alone.
    normalizes_voxels : bool
        Whether it normalises over voxels, of one example or of a batch, whose last may have one: of
        a channel there must be several.
    unnormalized : bool
        Whether its recipe leaves out a normalisation that it may have.
    has_dropout : bool
        Whether it leaves out values by chance when it learns.
    deepest : tuple of int
        How many voxels (z, y, x) of the input are one at the deepest level.
    channels_last : bool
        Whether all its layers compute on a GPU with channels as the innermost axis in memory, as
        tensor cores want them: layers that do not would copy all to and fro.
    weights : Pretrained or None
        What it begins with.
    keywords : dict
        What its class is made with.
    """

    outputs: ClassVar[int | None] = None
    cascaded: ClassVar[bool] = False
    classifies: ClassVar[bool] = False

    @property
    def flat(self) -> bool:
        return False

    @property
    @abstractmethod
    def divisor(self) -> Size: ...

    @property
    @abstractmethod
    def kilobytes(self) -> float: ...

    @property
    def normalizes_space(self) -> bool:
        return False

    @property
    def normalizes_voxels(self) -> bool:
        return self.normalizes_space

    @property
    def unnormalized(self) -> bool:
        return False

    @property
    def has_dropout(self) -> bool:
        return False

    @property
    def deepest(self) -> Size:
        return self.divisor

    @property
    def channels_last(self) -> bool:
        return not self.normalizes_space

    @property
    def weights(self) -> Pretrained | None:
        return None

    @property
    def keywords(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name"})

    def activations(self, size: Extent, batch: int) -> float:
        """MB that training keeps on a CPU, for a batch of so many voxels (z, y, x)."""
        voxels = math.prod(length or 1 for length in (size[1:] if self.flat else size))
        return 1.5 * self.kilobytes * voxels * batch / 1000
