"""Reads FER+ crops with their annotators' votes as training targets."""

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.errors import ConfigError
from edge.files.regular import open_regular
from edge.vocabulary import EXPRESSIONS
from exporters.expression.known import ANCHORS
from exporters.recipes.landmarks import read_landmarks

_COLUMNS: Final = {
    "neutral": "neutral", "happy": "happiness", "sad": "sadness", "surprise": "surprise",
    "fear": "fear", "disgust": "disgust", "anger": "anger", "contempt": "contempt",
}  # fmt: skip

SPLITS: Final = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class RatedCrops:
    """One split of FER+.

    Attributes:
        pictures: float32 (n, 1, 48, 48), 0..1.
        shares: float32 (n, 8), shares of the annotators' votes, in the order of ``EXPRESSIONS``.
        affect: float32 (n, 2), valence and arousal: the anchors weighted with the votes.
        landmarks: float32 (n, 50, 2), x and y, -1..1 across the picture; NaN where unknown. None if
            they were not read.
    """

    pictures: Tensor
    shares: Tensor
    affect: Tensor
    landmarks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, chosen: Tensor) -> "RatedCrops":
        """Return the crops whose indices are ``chosen``."""
        return RatedCrops(
            self.pictures[chosen],
            self.shares[chosen],
            self.affect[chosen],
            None if self.landmarks is None else self.landmarks[chosen],
        )

    def with_shares(self, shares: Tensor) -> "RatedCrops":
        """Return the crops with other ``shares`` (n, 8), and the affect that follows from them."""
        return dataclasses.replace(self, shares=shares, affect=shares @ _anchors())


def read_ferplus(path: Path, split: str, landmarks: Path | None = None) -> RatedCrops:
    """Return a split of ``ferplus.npz`` without pictures mostly voted unknown or no face.

    ``landmarks`` is the file that ``scripts/find_landmarks.py`` made of the same archive.

    Raises:
        ConfigError: a file is not as ``exporters/recipes/README.md`` describes, or the landmarks
            belong to another archive.
    """
    try:
        with (
            open(path, "rb", opener=open_regular) as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            images, votes, columns, splits = (
                archive[name] for name in ("images", "votes", "columns", "split")
            )
    # a single array (.npy) has no members: TypeError
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        # NumPy would advise to unpickle what is no archive
        reason = "no archive of NumPy" if isinstance(error, ValueError) else error
        raise ConfigError(
            f"--data {path}: not an archive with images, votes, columns and split ({reason})"
        ) from error
    if mistake := _mistake(images, votes, columns, splits):
        raise ConfigError(f"--data {path}: {mistake}; see exporters/recipes/README.md, Data")
    order = [list(columns).index(_COLUMNS[name]) for name in EXPRESSIONS]
    others = [index for index in range(len(columns)) if index not in order]
    clear = votes[:, order].max(axis=1) >= votes[:, others].max(axis=1)
    chosen = (splits == SPLITS[split]) & clear & (votes[:, order].sum(axis=1) > 0)
    if not chosen.any():
        raise ConfigError(
            f"--data {path}: no picture of a clear face has the split {SPLITS[split]} ({split})"
        )
    kept = votes[chosen][:, order].astype(np.float32)
    # a single vote is more often a mistake than an opinion; the majority always stays
    kept = np.where((kept > 1) | (kept == kept.max(axis=1, keepdims=True)), kept, 0)
    shares = torch.from_numpy(kept / kept.sum(axis=1, keepdims=True))
    pictures = torch.from_numpy(images[chosen].astype(np.float32) / 255)[:, None]
    points = None
    if landmarks is not None:
        points = torch.from_numpy(read_landmarks(landmarks, images)[chosen])
    return RatedCrops(pictures, shares, shares @ _anchors(), points)


def _mistake(
    images: NDArray[Any], votes: NDArray[Any], columns: NDArray[Any], splits: NDArray[Any]
) -> str:
    """Return what is wrong with the arrays of an archive, in words; empty: nothing."""
    count = images.shape[:1]
    names = columns.tolist() if columns.ndim == 1 else []
    missing = [name for name in _COLUMNS.values() if name not in names]
    if images.dtype != np.uint8 or images.shape[1:] != (48, 48):
        return f"images: {images.dtype} {images.shape}; expected uint8 (n, 48, 48)"
    if missing or len(names) == len(_COLUMNS):
        lacks = f"without {', '.join(missing)}" if missing else "without unknown or NF"
        return f"columns: {lacks}; expected the names of the votes, as texts"
    if votes.dtype.kind not in "iu" or votes.shape != (*count, len(names)):
        return f"votes: {votes.dtype} {votes.shape}; expected integers {(*count, len(names))}"
    if splits.dtype.kind not in "iu" or splits.shape != count:
        return f"split: {splits.dtype} {splits.shape}; expected integers {count}"
    return ""


def _anchors() -> Tensor:
    return torch.tensor([ANCHORS[name] for name in EXPRESSIONS])
