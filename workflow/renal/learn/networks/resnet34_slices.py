"""ResNet-34 that tells of a slice whether it holds the organ (Qiao 2019, figure 1)."""

from torch import Tensor, nn

from renal.learn.networks.resnet import WIDTHS, ResNet34


class Network(ResNet34):
    """ResNet-34 with its global average pool and classifier, on slices.

    Parameters
    ----------
    channels_in : int
        Neighbouring slices of an input.
    channels_out : int
        Logits of a slice.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in)
        self.fc = nn.Linear(WIDTHS[-1], channels_out)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits (batch, channels_out, 1, 1, 1) of an input (batch, 1, channels_in, y, x)."""
        features = super().forward(image.squeeze(1))[-1]
        logits = self.fc(features.mean(dim=(2, 3)))
        return (logits[:, :, None, None, None],)
