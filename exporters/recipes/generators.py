"""The networks that learn to translate faces: generators and discriminators of a CycleGAN.

J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: *Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks* (ICCV 2017).
"""

from pathlib import Path
from typing import Final

import torch
from onnx import helper
from torch import Tensor, nn

from exporters.artifacts import graph
from exporters.cyclegan.layout import INPUT, OUTPUT, build, read_layout

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

    Layers and their names are those of the public CycleGAN code (``resnet_generator``), but the
    picture is added before the last tanh: the network learns the difference of the spectra, and a
    small one need not carry every detail through a quarter of the resolution. ``side`` is a
    multiple of 4.
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
            nn.ReflectionPad2d(3), nn.Conv2d(n, 1, 7),
        )  # fmt: skip
        with torch.no_grad():  # it begins almost as a copy
            self.model[-1].weight.mul_(0.1)
            self.model[-1].bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the translated pictures."""
        return torch.tanh(x + self.model(x))


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


def write_generator(network: Generator, path: Path, side: int) -> None:
    """Write ``network`` as ONNX, for ``exporters cyclegan``; pictures of ``side`` pixels."""
    state = {name: each.detach().float().numpy() for name, each in network.state_dict().items()}
    model = build(state, read_layout(state), (side, side))
    last = model.graph.node.pop()
    total = helper.make_node("Add", [INPUT, last.input[0]], ["total"], name="total")
    model.graph.node.extend([total, helper.make_node("Tanh", ["total"], last.output, name=OUTPUT)])
    path.write_bytes(graph.finish(model))


@torch.no_grad()
def translate_pictures(network: Generator, pictures: Tensor) -> Tensor:
    """Return pictures (n, 1, side, side) of 0..1 in the generator's other spectrum."""
    made = [(network(2 * each - 1) + 1) / 2 for each in pictures.split(256)]
    return torch.cat(made).clamp(0, 1)
