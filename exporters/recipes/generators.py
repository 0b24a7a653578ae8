"""The networks that learn to translate faces: generators and discriminators of a CycleGAN.

J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: *Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks* (ICCV 2017).
"""

import pickle
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from edge.errors import ConfigError

_DISCRIMINATOR_WIDTHS: Final = (24, 48, 48)


class _Block(nn.Module):
    """A residual block; the name of its layers is that of the public code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature maps."""
        result: Tensor = x + self.conv_block(x)
        return result


class Generator(nn.Module):
    """A mono picture in, the picture in the other spectrum out: float32 (n, 1, side, side), -1..1.

    Layers and their names are those of the public CycleGAN code (``resnet_generator``), so
    ``exporters cyclegan`` reads its state dict. ``side`` is a multiple of 4.
    """

    def __init__(self, filters: int, blocks: int) -> None:
        super().__init__()
        n = filters

        def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
            return [convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]

        def up(before: int, after: int) -> nn.Module:
            return nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), *normed(nn.Conv2d(1, n, 7), n),
            *normed(nn.Conv2d(n, 2 * n, 3, 2, 1), 2 * n),
            *normed(nn.Conv2d(2 * n, 4 * n, 3, 2, 1), 4 * n),
            *(_Block(4 * n) for _ in range(blocks)),
            *normed(up(4 * n, 2 * n), 2 * n),
            *normed(up(2 * n, n), n),
            nn.ReflectionPad2d(3), nn.Conv2d(n, 1, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the translated pictures."""
        result: Tensor = self.model(x)
        return result


class Discriminator(nn.Module):
    """A mono picture in, a map of scores out: 1 for real, 0 for generated, per patch of it."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = _DISCRIMINATOR_WIDTHS
        leak = 0.2
        self.model = nn.Sequential(
            nn.Conv2d(1, a, 4, 2, 1), nn.LeakyReLU(leak, inplace=True),
            nn.Conv2d(a, b, 4, 2, 1), nn.InstanceNorm2d(b), nn.LeakyReLU(leak, inplace=True),
            nn.Conv2d(b, c, 3, 1, 1), nn.InstanceNorm2d(c), nn.LeakyReLU(leak, inplace=True),
            nn.Conv2d(c, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (n, 1, side / 4, side / 4)."""
        result: Tensor = self.model(x)
        return result


def multiply_adds(side: int, filters: int, blocks: int) -> int:
    """Return the multiply-adds of a ``Generator`` for one picture of ``side`` x ``side`` pixels."""
    total = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        # a transposed convolution uses each weight once per pixel of its input
        places = result[0, 0].numel() if isinstance(layer, nn.Conv2d) else result[0, 0].numel() // 4
        total += layer.weight.numel() * places

    network = Generator(filters, blocks)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, side, side))
    return total


def load_generator(path: Path, option: str) -> Generator:
    """Return a generator that ``translate`` wrote, in evaluation mode.

    ``option`` is the option that named the file, for messages.

    Raises:
        ConfigError: the file holds none.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        blocks = {name.split(".")[1] for name in state if ".conv_block." in name}
        network = Generator(len(state["model.1.bias"]), len(blocks))
        network.load_state_dict(state)
    except (
        OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, AttributeError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        line = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"{option} {path}: holds no generator that translate wrote ({line})"
        ) from error
    return network.eval()


@torch.no_grad()
def translate_pictures(network: Generator, pictures: Tensor) -> Tensor:
    """Return pictures (n, 1, side, side) of 0..1 in the generator's other spectrum."""
    made = [(network(2 * each - 1) + 1) / 2 for each in pictures.split(256)]
    return torch.cat(made).clamp(0, 1)
