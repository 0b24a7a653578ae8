"""Landmarks of training crops: an auxiliary task that trains features of the parts of a face.

What faces show is where brows, lids and lips stand. Votes tell that only in the sum, by light and
shadow as well as by shape; near infrared has other light and the same shapes. A network that also
has to say where the landmarks are learns features that say so. The head that says it only trains.
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

_LIPS: Final = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14,
                178)  # fmt: skip
_BROWS: Final = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_EYES: Final = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_NOSE: Final = (168, 6, 197, 195, 4, 98, 2, 327)

POINTS: Final = _LIPS + _BROWS + _EYES + _NOSE
"""The landmarks, as numbers of MediaPipe's mesh of a face. The outline of the face is not among
them: crops cut it off, and it says who somebody is rather than what is shown."""

_PAIRS: Final = (
    (61, 291), (40, 270), (37, 267), (91, 321), (84, 314), (78, 308), (81, 311), (178, 402),
    (70, 300), (63, 293), (105, 334), (66, 296), (107, 336), (33, 263), (160, 387), (158, 385),
    (133, 362), (153, 380), (144, 373), (98, 327),
)  # fmt: skip
_OTHER_SIDE: Final = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}

MIRRORED: Final = tuple(POINTS.index(_OTHER_SIDE.get(point, point)) for point in POINTS)
"""Where each landmark's counterpart in the mirror image stands among ``POINTS``."""

_MESH: Final = 478
"""Points of the mesh, irises included."""

_DOUBT: Final = 2.5 / 24
"""Of a face whose mirror image was read otherwise by more on average, 2.5 of 48 pixels, nobody
knows the landmarks."""

_NEAR: Final = 0.05
"""Errors beyond this, 1.2 pixels, count by their size, not by its square."""


def read_landmarks(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the landmarks of ``images``, (n, 50, 2); not a number where they are not known.

    The mean of what was read from each picture and from its mirror image, which halves the error
    that is chance; where the two disagree widely, neither is believed.

    Raises:
        ConfigError: the file is not the one that ``scripts/find_landmarks.py`` made of ``images``.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            plain, mirror, of = (archive[name] for name in ("plain", "mirror", "of"))
    # a single array (.npy) has no members: TypeError
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"--landmarks {path}: not an archive with plain, mirror and of ({error})"
        ) from error
    shape = (len(images), _MESH, 2)
    if plain.shape != shape or mirror.shape != shape or str(of) != digest(images):
        raise ConfigError(f"--landmarks {path}: made of other pictures than those of --data")
    plain, mirror = (mesh[:, list(POINTS)].astype(np.float32) for mesh in (plain, mirror))
    back = mirror[:, list(MIRRORED)] * np.array([-1, 1], np.float32)
    agreed = np.linalg.norm(plain - back, axis=2).mean(1) < _DOUBT  # not a number is not less
    points: NDArray[np.float32] = np.where(agreed[:, None, None], (plain + back) / 2, np.nan)
    return points.astype(np.float32)


def digest(images: NDArray[np.uint8]) -> str:
    """Return a hash of an archive's pictures."""
    return hashlib.sha256(images.tobytes()).hexdigest()


def known(points: Tensor) -> Tensor:
    """Return for each of n faces whether its landmarks (n, 50, 2) are known."""
    return ~torch.isnan(points).any(2).any(1)


class Shapes:
    """Shapes: where landmarks stand, less the face's place, size and tilt (Procrustes).

    Attributes:
        mean: (50, 2), the mean shape, of unit size around the origin.
        spread: how far shapes lie from their mean: mean squared distance.
    """

    def __init__(self, points: Tensor) -> None:
        """Take the mean and the spread of shapes from faces: float32 (n, 50, 2), all known."""
        centred = points - points.mean(1, keepdim=True)
        mean = (centred / centred.square().sum((1, 2), keepdim=True).sqrt()).mean(0)
        self.mean = mean / mean.square().sum().sqrt()
        shapes = self.of(points)
        self.spread = float((shapes - shapes.mean(0)).square().sum((1, 2)).mean())

    def of(self, points: Tensor) -> Tensor:
        """Return the shapes of faces, both (n, 50, 2).

        The similarity that brings a face nearest to the mean, in complex numbers: Kent, The
        Complex Bingham Distribution and Shape Analysis, JRSS B 1994.
        """
        x, y = (points - points.mean(1, keepdim=True)).unbind(2)
        to_x, to_y = self.mean.unbind(1)
        size = (x.square() + y.square()).sum(1, keepdim=True)
        real = (x * to_x + y * to_y).sum(1, keepdim=True) / size
        imaginary = (x * to_y - y * to_x).sum(1, keepdim=True) / size
        return torch.stack([x * real - y * imaginary, x * imaginary + y * real], 2)

    def unexplained(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return how much of the spread of shapes ``predicted`` misses, of each face, (n,).

        On average 1 where the prediction is always the mean shape.
        """
        return (self.of(predicted) - self.of(true)).square().sum((1, 2)) / self.spread

    def loss(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss of landmarks (n, 50, 2): of their places, and of the shapes they make.

        Faces whose landmarks are not known do not count. The shape counts once it is nearer than
        the mean one: what a head says that has learnt nothing yet has no shape.
        """
        faces = known(true)
        if not faces.any():
            return predicted.sum() * 0
        places = nnf.smooth_l1_loss(predicted[faces], true[faces], beta=_NEAR)
        return 10 * places + self.unexplained(predicted[faces], true[faces]).clamp(max=1).mean()
