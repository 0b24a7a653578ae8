"""Augments visible-light crops to look like near-infrared pictures.

All functions take float32 (n, 1, side, side) in 0..1 and draw once per picture from the given
generator: the same seed gives the same pictures.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

EPSILON: Final = 0.05
"""Added to the standard deviation, so that a uniform picture stays uniform."""


def normalise(pictures: Tensor) -> Tensor:
    """Return the network's input: ``(x - mean) / (std + 0.05)`` of each picture."""
    mean = pictures.mean((1, 2, 3), keepdim=True)
    std = pictures.std((1, 2, 3), keepdim=True, correction=0)
    return (pictures - mean) / (std + EPSILON)


def augment(
    pictures: Tensor,
    random: Generator,
    strength: float = 0.7,
    *,
    moves: Tensor | None = None,
    unchanged: float = 0.0,
) -> Tensor:
    """Return the pictures as another camera, lamp and detector might have given them.

    In physical order: movement of head and box (mirror, rotation, scale, shift, black beyond the
    border), light (fall-off, reflections), blur of the lens, noise and clipping of the sensor, gain
    and gamma, occlusion.

    Args:
        pictures: to augment.
        random: generator of all random numbers.
        strength: of light, gain and gamma.
        moves: from ``draw_movements``; None: no movement.
        unchanged: share of the pictures, the first ones, that are only moved.
    """
    if moves is not None:
        pictures = _move(pictures, moves, random)
    kept = pictures[: round(unchanged * len(pictures))]
    pictures = _light(pictures[len(kept) :], random, strength)
    pictures = _blur(pictures, random)
    pictures = _expose(pictures, random, strength)
    return torch.cat([kept, _occlude(pictures, random)])


def _uniform(count: int, low: float, high: float, random: Generator) -> Tensor:
    return torch.empty(count, 1, 1, 1).uniform_(low, high, generator=random)


def _bernoulli(count: int, share: float, random: Generator) -> Tensor:
    return (torch.rand(count, 1, 1, 1, generator=random) < share).float()


def draw_movements(count: int, random: Generator, strength: float = 0.7) -> Tensor:
    """Return random affine transforms for ``count`` pictures, (n, 2, 3), as for ``affine_grid``.

    They mirror, rotate, scale and shift: they map positions in the result, -1..1, to positions in
    the picture.
    """
    angle = _uniform(count, -0.3 * strength, 0.3 * strength, random).flatten()
    scale = torch.exp(_uniform(count, -0.2 * strength, 0.2 * strength, random)).flatten()
    stretch = torch.exp(_uniform(count, -0.08, 0.08, random)).flatten()
    mirror = 1 - 2 * _bernoulli(count, 0.5, random).flatten()
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = cos * scale * stretch * mirror
    theta[:, 0, 1] = -sin * scale
    theta[:, 1, 0] = sin * scale * mirror
    theta[:, 1, 1] = cos * scale / stretch
    theta[:, :, 2] = torch.empty(count, 2).uniform_(-0.16, 0.16, generator=random) * strength
    return theta


def move_points(points: Tensor, moves: Tensor, mirrored: Sequence[int]) -> Tensor:
    """Return the positions of points (n, k, 2) of pictures after ``moves``.

    ``mirrored`` holds for each point the index of its counterpart in a mirrored picture.
    """
    turned, shift = moves[:, :, :2], moves[:, None, :, 2]
    moved = torch.linalg.solve(turned, (points - shift).transpose(1, 2)).transpose(1, 2)
    is_mirrored = torch.linalg.det(turned) < 0
    return torch.where(is_mirrored[:, None, None], moved[:, list(mirrored)], moved)


def _move(pictures: Tensor, moves: Tensor, random: Generator) -> Tensor:
    grid = nnf.affine_grid(moves, list(pictures.shape), align_corners=False)
    # a crop continues beyond the face, or in black where it crosses the picture's border
    continued = nnf.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    black = nnf.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)
    at_border = _bernoulli(len(pictures), 0.3, random)
    return continued * (1 - at_border) + black * at_border


def _coordinates(side: int) -> tuple[Tensor, Tensor]:
    line = torch.linspace(-1, 1, side)
    return line.view(1, 1, side, 1), line.view(1, 1, 1, side)


def _spot(pictures: Tensor, random: Generator, radius: tuple[float, float]) -> Tensor:
    y, x = _coordinates(pictures.shape[-1])
    count = len(pictures)
    cy, cx = _uniform(count, -0.9, 0.9, random), _uniform(count, -0.9, 0.9, random)
    spread = _uniform(count, *radius, random)
    return torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * spread**2))


def _light(pictures: Tensor, random: Generator, strength: float) -> Tensor:
    count = len(pictures)
    y, x = _coordinates(pictures.shape[-1])
    # a lamp next to the lens: brighter on one side; half of the pictures
    slope_y = _uniform(count, -0.5, 0.5, random) * strength
    slope_x = _uniform(count, -0.6, 0.6, random) * strength
    lamp = (1 + slope_y * y + slope_x * x).clamp(0.15, 2)
    use = _bernoulli(count, 0.5, random)
    pictures = pictures * (lamp * use + 1 - use)
    centre = _spot(pictures, random, (0.5, 1.2))
    use = _bernoulli(count, 0.3, random) * _uniform(count, 0.2, 0.8, random) * strength
    pictures = pictures * (1 - use + 1.5 * use * centre)
    # reflections on glasses and wet skin
    for _ in range(2):
        use = _bernoulli(count, 0.12, random) * _uniform(count, 0.3, 0.9, random)
        pictures = pictures + use * _spot(pictures, random, (0.04, 0.16))
    # skin looks smoother in near infrared, and large shadows are weaker
    shade = nnf.avg_pool2d(nnf.pad(pictures, (8, 8, 8, 8), mode="replicate"), 17, 1)
    use = _bernoulli(count, 0.3, random) * _uniform(count, 0.2, 0.9, random)
    return pictures - use * (shade - shade.mean((1, 2, 3), keepdim=True))


def _blur(pictures: Tensor, random: Generator) -> Tensor:
    count = len(pictures)
    soft = pictures
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel2 = (kernel[:, None] * kernel[None, :]).view(1, 1, 3, 3)
    for _ in range(3):
        soft = nnf.conv2d(nnf.pad(soft, (1, 1, 1, 1), mode="replicate"), kernel2)
    # from sharpened, as some cameras do, to 1.2 pixels of blur
    use = _bernoulli(count, 0.5, random) * _uniform(count, -0.6, 1.0, random)
    return pictures + use * (soft - pictures)


def _expose(pictures: Tensor, random: Generator, strength: float) -> Tensor:
    count = len(pictures)
    sigma = _bernoulli(count, 0.5, random) * _uniform(count, 0.0, 0.05, random)
    noise = torch.randn(pictures.shape, generator=random)
    gain = torch.exp(_uniform(count, -0.5, 0.35, random) * strength)
    offset = _uniform(count, -0.08, 0.12, random) * strength
    pictures = ((pictures + sigma * noise) * gain + offset).clamp(0.0, 1.0)
    gamma = torch.exp(_uniform(count, -0.5, 0.5, random) * strength)
    return pictures.clamp_min(1e-4) ** gamma


def _occlude(pictures: Tensor, random: Generator) -> Tensor:
    count, side = len(pictures), pictures.shape[-1]
    y, x = _coordinates(side)
    # black stripes left and right, as in a square crop of a high box
    width = _bernoulli(count, 0.12, random) * _uniform(count, 0.05, 0.3, random)
    pictures = pictures * (x.abs() <= 1 - width).float()
    # a hand, a mask's strap, a cable
    cy, cx = _uniform(count, -1, 1, random), _uniform(count, -1, 1, random)
    high, wide = _uniform(count, 0.1, 0.4, random), _uniform(count, 0.1, 0.4, random)
    patch = ((y - cy).abs() < high).float() * ((x - cx).abs() < wide).float()
    patch = patch * _bernoulli(count, 0.2, random)
    return pictures * (1 - patch) + patch * _uniform(count, 0.0, 1.0, random)
