"""What the tests of several networks look at."""

import torch
from torch import nn

# Channels in and out of the convolutions of a U-Net of depth 4 and width 16.
CONVOLUTIONS = (
    *((1, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256)),
    *((256 + 128, 128), (128, 128), (128 + 64, 64), (64, 64), (64 + 32, 32), (32, 32)),
)


def counted(kernel: int, channels_out: int) -> int:
    """Kernels and biases, scale and shift of the normalisation, and the last convolution."""
    body = sum(before * after * kernel + 3 * after for before, after in CONVOLUTIONS)
    return body + 32 * channels_out + channels_out


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def zero_kernels(*blocks: nn.Module) -> None:
    for block in blocks:
        for layer in layers_of(block, nn.Conv2d, nn.Conv3d):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def entering(module: nn.Module) -> list[torch.Tensor]:
    """A list that fills with what the module is given."""
    given = []
    module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    return given


def assert_all_learn(network: nn.Module) -> None:
    """Finite gradients everywhere, and none that vanishes."""
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def assert_kernels_learn(network: nn.Module) -> None:
    """Finite gradients everywhere, and none that vanishes in a kernel."""
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if parameter.ndim > 1:
            assert parameter.grad.any(), name
