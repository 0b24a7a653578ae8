"""Landmarks of training crops: an auxiliary task for features that do not depend on the light.

An expression is a shape of brows, lids and lips. Votes teach a network to use shape, light and
shadow together, and near infrared has the same shapes in other light. A network that must also
locate landmarks learns features of shape. The landmark head is used in training only.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from edge.errors import ConfigError
from edge.files.regular import open_regular

_LIPS: Final = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14,
                178)  # fmt: skip
_BROWS: Final = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_EYES: Final = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_NOSE: Final = (168, 6, 197, 195, 4, 98, 2, 327)

POINTS: Final = _LIPS + _BROWS + _EYES + _NOSE
"""The landmarks, as indices into MediaPipe's face mesh. The outline of the face is left out: crops
cut it off, and it depends on the person more than on the expression."""

_PAIRS: Final = (
    (61, 291), (40, 270), (37, 267), (91, 321), (84, 314), (78, 308), (81, 311), (178, 402),
    (70, 300), (63, 293), (105, 334), (66, 296), (107, 336), (33, 263), (160, 387), (158, 385),
    (133, 362), (153, 380), (144, 373), (98, 327),
)  # fmt: skip
_OTHER_SIDE: Final = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}

MIRRORED: Final = tuple(POINTS.index(_OTHER_SIDE.get(point, point)) for point in POINTS)
"""Index in ``POINTS`` of each landmark's counterpart in the mirror image."""

_MESH_POINTS: Final = 478
"""Points of the mesh, irises included."""

_DISAGREEMENT_MAX: Final = 2.5 / 24
"""Largest mean distance, 2.5 of 48 pixels, between the landmarks found on a face and on its mirror
image; with a larger one the landmarks count as unknown."""

_SMOOTH_L1_BETA: Final = 0.05
"""Threshold of the smooth L1 loss, 1.2 pixels: larger errors count linearly, not squared."""


def read_landmarks(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the landmarks of ``images``, (n, 50, 2); NaN where they are unknown.

    They are the mean over each picture and its mirror image, which reduces the random error; if the
    two differ by more than ``_DISAGREEMENT_MAX``, the landmarks count as unknown.

    Raises:
        ConfigError: the file is not the one that ``scripts/find_landmarks.py`` made of ``images``.
    """
    try:
        with (
            open(path, "rb", opener=open_regular) as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            plain, mirror, of = (archive[name] for name in ("plain", "mirror", "of"))
    # a single array (.npy) has no members: TypeError
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        # NumPy would advise to unpickle what is no archive
        reason = "no archive of NumPy" if isinstance(error, ValueError) else error
        raise ConfigError(
            f"--landmarks {path}: not an archive with plain, mirror and of ({reason})"
        ) from error
    shape = (len(images), _MESH_POINTS, 2)
    if plain.shape != shape or mirror.shape != shape or str(of) != digest(images):
        raise ConfigError(f"--landmarks {path}: made of other pictures than those of --data")
    plain, mirror = (mesh[:, list(POINTS)].astype(np.float32) for mesh in (plain, mirror))
    back = mirror[:, list(MIRRORED)] * np.array([-1, 1], np.float32)
    agreed = (
        np.linalg.norm(plain - back, axis=2).mean(1) < _DISAGREEMENT_MAX
    )  # not a number is not less
    points: NDArray[np.float32] = np.where(agreed[:, None, None], (plain + back) / 2, np.nan)
    return points.astype(np.float32)


def digest(images: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an archive's pictures."""
    return hashlib.sha256(images.tobytes()).hexdigest()


def are_known(points: Tensor) -> Tensor:
    """Return which of n faces have known landmarks (n, 50, 2): (n,) booleans."""
    return ~torch.isnan(points).any(2).any(1)


class Shapes:
    """Aligns faces to their mean shape, without position, size and rotation (Procrustes analysis).

    Attributes:
        mean: (50, 2), the mean shape, of unit size around the origin.
        spread: mean squared distance of shapes from their mean.
    """

    def __init__(self, points: Tensor) -> None:
        """Compute mean and spread from faces, float32 (n, 50, 2), all known."""
        centred = points - points.mean(1, keepdim=True)
        mean = (centred / centred.square().sum((1, 2), keepdim=True).sqrt()).mean(0)
        self.mean = mean / mean.square().sum().sqrt()
        shapes = self.align(points)
        self.spread = float((shapes - shapes.mean(0)).square().sum((1, 2)).mean())

    def align(self, points: Tensor) -> Tensor:
        """Return the shapes of faces, both (n, 50, 2).

        Each face is transformed by the similarity that brings it nearest to the mean, computed in
        complex numbers: Kent, The Complex Bingham Distribution and Shape Analysis, JRSS B 1994.
        """
        x, y = (points - points.mean(1, keepdim=True)).unbind(2)
        to_x, to_y = self.mean.unbind(1)
        size = (x.square() + y.square()).sum(1, keepdim=True)
        real = (x * to_x + y * to_y).sum(1, keepdim=True) / size
        imaginary = (x * to_y - y * to_x).sum(1, keepdim=True) / size
        return torch.stack([x * real - y * imaginary, x * imaginary + y * real], 2)

    def unexplained_variance(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the unexplained variance of each face's shape relative to the spread, (n,).

        Predicting the mean shape for every face gives 1 on average.
        """
        return (self.align(predicted) - self.align(true)).square().sum((1, 2)) / self.spread

    def loss(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss of landmarks (n, 50, 2): of positions and of shapes.

        Faces with unknown landmarks do not count. The loss of the shape is limited to that of the
        mean shape, because the first outputs of an untrained head have no shape.
        """
        faces = are_known(true)
        if not faces.any():
            return predicted.sum() * 0
        positions = nnf.smooth_l1_loss(predicted[faces], true[faces], beta=_SMOOTH_L1_BETA)
        return (
            10 * positions
            + self.unexplained_variance(predicted[faces], true[faces]).clamp(max=1).mean()
        )
