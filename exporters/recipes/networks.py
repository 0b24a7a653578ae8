"""The expression network and its larger teacher: residual networks with two linear heads."""

import itertools
from typing import Final

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from edge.vocabulary import EXPRESSIONS

SIDE: Final = 48
"""Side of the input, pixels, as of the training crops: enlarging them adds cost, not detail."""

STUDENT_WIDTHS: Final = (24, 48, 96, 192)
"""38 million multiply-adds per face."""

TEACHER_WIDTHS: Final = (32, 64, 128, 256)
"""67 million multiply-adds per face; for training only."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ReLU only, which int8 runtimes fuse."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        # an untrained block is the identity, so that a deep network starts like a shallow one
        nn.init.zeros_(self.second_norm.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature maps."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class ExpressionNetwork(nn.Module):
    """Normalised mono faces in, logits of expressions and of (valence, arousal) out.

    Input float32 (n, 1, 48, 48); ``logits`` (n, 8) in AffectNet order, before softmax; ``affect``
    (n, 2), before a sigmoid s with value ``(s - 0.5) * 2``. Both heads are linear in the pooled
    features, so an offset of the features is an offset of the logits; personal baselines need that.
    """

    def __init__(self, widths: tuple[int, ...] = STUDENT_WIDTHS, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            ResidualBlock(widths[0], widths[0], 1),
        ]
        for before, width in itertools.pairwise(widths):
            layers += [ResidualBlock(before, width, 2), ResidualBlock(width, width, 1)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(dropout)
        self.expression = nn.Linear(widths[-1], len(EXPRESSIONS))
        self.affect = nn.Linear(widths[-1], 2)

    def forward_with_maps(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return ``logits``, ``affect`` and the feature maps at a quarter of the input and below.

        The maps are (n, widths[1], 12, 12), (n, widths[2], 6, 6) and (n, widths[3], 3, 3).
        """
        maps = []
        for stage in (self.body[:7], self.body[7:9], self.body[9:11]):
            x = stage(x)
            maps.append(x)
        features = self.dropout(self.body[11:](x))
        return self.expression(features), self.affect(features), maps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``logits`` and ``affect``."""
        logits, affect, _ = self.forward_with_maps(x)
        return logits, affect


class LandmarkHead(nn.Module):
    """Feature maps of an ``ExpressionNetwork`` in, landmarks out; for training only.

    Maps are projected to the same width, summed at the finest resolution and convolved. A landmark
    is the mean position under the softmax of its heat map (Sun et al., Integral Human Pose
    Regression, ECCV 2018), -1..1 across the picture.
    """

    def __init__(self, widths: tuple[int, ...], points: int, hidden: int = 48) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, hidden, 1) for width in widths[1:])
        self.around = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.heat = nn.Conv2d(hidden, points, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return landmarks, (n, points, 2), x and y."""
        *finer, x = [lateral(each) for lateral, each in zip(self.laterals, maps, strict=True)]
        for lateral in reversed(finer):
            x = lateral + nnf.interpolate(x, size=lateral.shape[2:], mode="nearest")
        x = torch.relu(x)
        x = torch.relu(self.around(x) + x)
        side = x.shape[-1]
        line = (torch.arange(side) + 0.5) / side * 2 - 1
        places = torch.stack([line.repeat(side), line.repeat_interleave(side)], 1)
        # float32: near 1, a step of bfloat16 is a tenth of a pixel
        return nnf.softmax(self.heat(x).float().flatten(2), 2) @ places
