"""FER+ crops with their raters' votes, as training targets."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from edge.errors import ConfigError
from edge.values import EXPRESSIONS

_COLUMNS: Final = {
    "neutral": "neutral", "happy": "happiness", "sad": "sadness", "surprise": "surprise",
    "fear": "fear", "disgust": "disgust", "anger": "anger", "contempt": "contempt",
}  # fmt: skip

ANCHORS: Final = {
    "neutral": (0.0, 0.0), "happy": (0.92, 0.15), "sad": (-0.84, -0.4), "surprise": (0.3, 0.85),
    "fear": (-0.1, 0.8), "disgust": (-0.64, 0.5), "anger": (-0.44, 0.8), "contempt": (-0.55, 0.45),
}  # fmt: skip
"""Valence and arousal of each expression fully shown, after AffectNet (Kalabis 2024, table 3.1).
The table lacks contempt: its anchor is a point near disgust, less intense."""

SPLITS: Final = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class RatedCrops:
    """One split.

    Attributes:
        pictures: float32 (n, 1, 48, 48), 0..1.
        shares: float32 (n, 8), the raters' votes for each expression, summing to 1.
        affect: float32 (n, 2), valence and arousal: the anchors weighted with the votes.
    """

    pictures: Tensor
    shares: Tensor
    affect: Tensor

    def __len__(self) -> int:
        return len(self.pictures)


def read_ferplus(path: Path, split: str) -> RatedCrops:
    """Return a split of ``ferplus.npz``; pictures mostly called unknown or no face are left out.

    Raises:
        ConfigError: the file is not the archive that ``exporters/recipes/README.md`` describes.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, votes, columns, splits = (
                archive[name] for name in ("images", "votes", "columns", "split")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"--data {path}: not an archive with images, votes, columns and split ({error})"
        ) from error
    order = [list(columns).index(_COLUMNS[name]) for name in EXPRESSIONS]
    others = [index for index in range(len(columns)) if index not in order]
    clear = votes[:, order].max(axis=1) >= votes[:, others].max(axis=1)
    chosen = (splits == SPLITS[split]) & clear & (votes[:, order].sum(axis=1) > 0)
    kept = votes[chosen][:, order].astype(np.float32)
    # a single rater's vote is more often a slip than a view; the majority always stays
    kept = np.where((kept > 1) | (kept == kept.max(axis=1, keepdims=True)), kept, 0)
    shares = torch.from_numpy(kept / kept.sum(axis=1, keepdims=True))
    pictures = torch.from_numpy(images[chosen].astype(np.float32) / 255)[:, None]
    return with_shares(pictures, shares)


def with_shares(pictures: Tensor, shares: Tensor) -> RatedCrops:
    """Return crops whose valence and arousal follow from ``shares`` (n, 8)."""
    anchors = torch.tensor([ANCHORS[name] for name in EXPRESSIONS])
    return RatedCrops(pictures, shares, shares @ anchors)
