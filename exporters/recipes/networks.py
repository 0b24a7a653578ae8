"""The expression network and its larger teacher: residual, plain ReLU, two linear heads."""

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from edge.values import EXPRESSIONS

SIDE: Final = 48
"""Side of the input, pixels: that of the training crops. Enlarging them adds cost, not detail."""

STUDENT_WIDTHS: Final = (24, 48, 96, 192)
"""38 million multiply-adds a face."""

TEACHER_WIDTHS: Final = (32, 64, 128, 256)
"""67 million multiply-adds a face; only trains."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ReLU only, which integer runtimes fuse."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        # an untrained block passes its input on: deep nets then start as shallow ones
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
    """One normalised mono face in; logits of eight expressions and of (valence, arousal) out.

    Input float32 (n, 1, 48, 48); ``logits`` (n, 8) in AffectNet order before softmax; ``affect``
    (n, 2) before the sigmoid whose value s means ``(s - 0.5) * 2``. Both heads are linear in
    ``features``: an offset there is an offset of the logits, which personal baselines rely on.
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

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features, (n, widths[-1])."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``logits`` and ``affect``."""
        features = self.dropout(self.features(x))
        return self.expression(features), self.affect(features)
