"""Networks that predict together: where they run, and how much of a case they see at once."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from renal.labels import KITS19, Labels
from renal.learn.arrays import as_tensor
from renal.learn.device import choose_device, forward_pass, lay_channels_last, on_device, place
from renal.learn.inferers import infer
from renal.learn.shortage import too_little
from renal.learn.targets import probabilities
from renal.learn.transposed import take_products

if TYPE_CHECKING:
    from renal.learn.inferers.settings import InferenceSettings
    from renal.learn.settings import Prediction

log = logging.getLogger(__name__)

LESS_AT_ONCE = "lower batch of the stage's inference"
# As many times the images that the recipe has a network see at once. With four, a prediction takes
# about as much of a GPU as a training step, so that a card that trains a network has room for them.
TIMES_ON_GPU = 4
# A device where a case's images lie and its parts are put together, and how many times as many
# images go through the network at once.
Way = tuple[torch.device, int]


class MeanPredictor:
    """The mean of some networks' probabilities, on the GPU if there is one.

    A case's images are copied there once, and its maps back once; several windows or slices go
    through the networks at a time. Where memory does not suffice, it is done with fewer, and at
    last one by one, put together on the CPU.

    Parameters
    ----------
    networks : list of torch.nn.Module
        Are moved there.
    settings : Prediction
        Target, inference, and how a GPU is told to compute.
    labels : Labels
        Which regions lie within which.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU.
    """

    def __init__(
        self,
        networks: list[nn.Module],
        settings: "Prediction",
        labels: Labels = KITS19,
        *,
        bfloat16_on_cpu: bool,
    ) -> None:
        self.networks = networks
        self.settings = settings
        self.labels = labels
        self.device, self.precision = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
        self._ways = ways_on(self.device, settings.inference)
        for network in networks:
            place(network.eval(), settings, self.device)
            if self.device.type == "cpu":
                lay_channels_last(network, self.precision)  # which makes a CPU up to twice as fast
                take_products(network)

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities (batch, maps, z, y, x) float on the device, of images (batch, 1, z, y, x).

        Those come from any device.
        """
        # In the network's precision, so that sums with them are as small.
        images = on_device(images, self.device).to(self.precision)
        with forward_pass(self.device, self.precision):
            logits = [network(images)[-1] for network in self.networks]
        total, *others = (probabilities(one, self.settings.target, self.labels) for one in logits)
        return sum(others, start=total) / len(self.networks)

    def predict(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Probabilities of a case's regions.

        Parameters
        ----------
        images : list of numpy.ndarray
            (z, y, x) float16 of each region.

        Returns
        -------
        list of numpy.ndarray
            (maps, z, y, x) float32 each.

        Raises
        ------
        InputError
            If a GPU has too little memory whichever way.
        """
        if not images:
            return []
        while True:
            try:
                return self._predicted(images, *self._ways[0])
            except torch.OutOfMemoryError as error:
                if len(self._ways) == 1:
                    raise too_little(self.device, LESS_AT_ONCE) from error
            # Out here nothing holds what that took. What did not fit is not tried again.
            del self._ways[0]
            torch.cuda.empty_cache()
            where, times = self._ways[0]
            log.info(
                "GPU memory is short: the case is predicted anew, %d images at once, "
                "put together on the %s",
                times * self.settings.inference.at_once,
                "GPU" if where.type == "cuda" else "CPU",
            )

    @torch.inference_mode()
    def _predicted(
        self, images: list[np.ndarray], where: torch.device, times: int
    ) -> list[np.ndarray]:
        tensors = [on_device(as_tensor(image), where).float() for image in images]
        found = infer(
            tensors,
            self,
            self.settings.inference,
            context=self.settings.channels_in,
            times=times,
        )
        return [maps.cpu().numpy() for maps in found]


def ways_on(device: torch.device, inference: "InferenceSettings") -> list[Way]:
    """How a case may be predicted on a device: the fastest first, that of least memory last."""
    if device.type == "cpu" or inference.stacks:  # on a CPU memory is what counts
        return [(device, 1)]
    fewer = [TIMES_ON_GPU >> halvings for halvings in range(TIMES_ON_GPU.bit_length())]
    return [*((device, times) for times in fewer), (torch.device("cpu"), 1)]
