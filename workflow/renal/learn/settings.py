"""What a recipe may say of how a stage is trained, and what prediction needs to know of it."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from renal.learn.augmentations.settings import Augmentation
from renal.learn.drawings.settings import Drawing, UniformDrawing
from renal.learn.inferers.settings import Inference, WholeInference
from renal.learn.losses.settings import DecayingSupervision, Loss
from renal.learn.networks.settings import Network
from renal.learn.optimizers.settings import Optimizer
from renal.learn.samplers.settings import Sampler, VolumeSampler
from renal.learn.schedules.settings import Schedule
from renal.learn.targets import channels_of, classes_of
from renal.settings import Name, Share, Strict


class Classes(Strict):
    """Regions that a softmax tells apart, outer ones first: each without those within it."""

    classes: Annotated[tuple[Name, ...], Field(min_length=1)]


# What a stage learns to find: one region or several, exclusive classes (`classes`: kidney and
# tumour), or whether a slice holds anything at all (`slices`).
Target = Name | Classes | Annotated[tuple[Name, ...], Field(min_length=1)]


class Stopping(Strict):
    """Stop after `patience` epochs without a better loss, or after one below a learning rate.

    Both from `minimum_epochs` on.
    """

    patience: PositiveInt | None = None
    minimum_rate: PositiveFloat | None = None
    minimum_epochs: PositiveInt = 1

    @model_validator(mode="after")
    def _possible(self) -> "Stopping":
        if self.patience is None and self.minimum_rate is None:
            raise ValueError("stopping needs patience or minimum_rate, or never stops anything")
        return self


class Validation(Strict):
    """A share of the training cases that is not learned from, but watched.

    Its loss steers schedule and stopping; `keep` says whether the model of the best or of the last
    epoch is kept.
    """

    share: Share
    keep: Literal["best", "last"]


class Acceleration(Strict):
    """What a GPU is told to do for speed; a CPU computes as it does without.

    `benchmark` has cuDNN try its algorithms for each size. `channels_last` lays channels out last;
    null: as is right for the network. `compile` has torch.compile fuse operators, which takes
    minutes for each training and needs a compiler on the node.
    """

    benchmark: bool = True
    channels_last: bool | None = None
    compile: bool = False


class Training(Strict):
    """Everything that decides a trained model, apart from the data.

    `gpus` share every batch of `batch_size` examples. Where a training has learned nothing for
    `collapse_steps` steps in a row (learn/collapse.py), it ends without a model.
    """

    target: Target
    sampler: Sampler = VolumeSampler(name="volume")
    drawing: Drawing = UniformDrawing(name="uniform")
    network: Network
    loss: Loss
    supervision: DecayingSupervision | None = None
    optimizer: Optimizer
    schedule: Schedule
    epochs: PositiveInt
    collapse_steps: PositiveInt = 200
    stopping: Stopping | None = None
    validation: Validation | None = None
    batch_size: PositiveInt
    gpus: PositiveInt = 1
    acceleration: Acceleration = Acceleration()
    augmentation: tuple[Augmentation, ...] = ()

    @model_validator(mode="after")
    def _fitting(self) -> "Training":
        network, sampler = self.network, self.sampler
        if network.flat != sampler.flat:
            kind = "slices" if network.flat else "volumes"
            raise ValueError(f"sampler {sampler.name}: {network.name} learns from {kind}")
        outputs = len(channels_of(self.target))
        if network.outputs not in (None, outputs):
            raise ValueError(
                f"target {self.target!r} is {outputs} channels, "
                f"but {network.name} gives {network.outputs}"
            )
        if network.cascaded and not (isinstance(self.target, tuple) and len(self.target) > 1):
            raise ValueError(
                f"target {self.target!r}: {network.name} learns a list of regions, outer ones first"
            )
        if self.gpus > self.batch_size:
            raise ValueError("gpus must not be greater than batch_size, which they share")
        if (self.target == "slices") != network.classifies:
            raise ValueError("target slices goes with a network that tells slices, and it alone")
        if self.loss.exclusive != bool(classes_of(self.target)):
            raise ValueError("target classes goes with a loss whose activation is softmax")
        if sampler.fresh and self.drawing.knows_examples:
            raise ValueError(
                f"drawing {self.drawing.name}: {sampler.name} are at new places each time: "
                "choose uniform, or hard with unit case"
            )
        return self


class Prediction(Strict):
    """What decides a stage's prediction beside its models."""

    network: Network
    target: Target
    channels_in: PositiveInt = 1
    acceleration: Acceleration = Acceleration()
    inference: Inference = WholeInference(name="whole")
