"""Transposed convolutions as products of matrices, where a CPU predicts."""

from torch import Tensor, nn
from torch.nn import functional


class Product(nn.ConvTranspose3d):
    """A transposed convolution whose kernel is as large as its stride, so that none overlap.

    It takes and gives (batch, channels, z, y, x), channels last in memory. PyTorch's own copies to
    channels first and back.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        kernel = self.weight.permute(2, 3, 4, 1, 0)
        bias = None if self.bias is None else self.bias.repeat(kernel.shape[:3].numel())
        products = functional.linear(x.movedim(1, -1), kernel.flatten(0, 3), bias)
        apart = products.unflatten(-1, kernel.shape[:4]).permute(0, 1, 4, 2, 5, 3, 6, 7)
        joined: Tensor = apart.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return joined.movedim(-1, 1)


def take_products(network: nn.Module) -> None:
    """Have the transposed convolutions of a network, which is changed, computed as products."""
    for layer in network.modules():
        if type(layer) is nn.ConvTranspose3d and layer.kernel_size == layer.stride:
            layer.__class__ = Product
