"""Measures of a whole picture: whether it shows anything, and whether it came before.

All measures use at most 320 x 180 pixels of the picture, so that the cost does not depend on its
size. An *area* is the mean of 4 x 4 of those pixels, a *patch* the mean of 3 x 3 areas.

- *brightness*: mean luma. *brightest*: the level that 0.2 % of the areas exceed, less than the
  smallest face that can be classified covers.
- *contrast*: difference between neighbouring patches (the 99th percentile), as a share of
  *brightest*. It does not depend on lamp and exposure: 0.22 to 0.56 for real scenes, 0.06 for white
  paper in front of the lens.
- *structure*: the same difference, as a multiple of the noise of a patch. It tells a dim scene from
  the noise of a sensor without light: 3 to 8 for noise alone (12 with glow of the sensor), 13 and
  more (20 and more for 254 of 272) where the detector still finds a face.

Measured on near-infrared photographs and the bundled clip, darkened to 2 % with noise of 0 to 6
levels: ``docs/decisions.md``.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from edge.vision.values import Floats, Luma

Look = Literal["normal", "dark", "flat"]

_COLUMNS, _ROWS = 320, 180
_AREA: Final = 4
_PATCH: Final = 3

_LEAVE: Final = 1.2
"""A picture that was dark or flat has to exceed a limit by this factor to be normal again."""

DIM: Final = 24.0  # levels of 255; a face needs 33 to be classified (quality.brightness_min)
BLACK: Final = 8.0  # below 5 no face was found, below 8 only without any noise
STRUCTURE_MIN: Final = 20.0
CONTRAST_MIN: Final = 0.08

_VERSIONS_MAX: Final = 16  # of one picture; a loop of moving or noisy pictures has more
_CLOSE: Final = 3.0  # levels


@dataclass(frozen=True, slots=True)
class PictureMeasures:
    """What one picture shows.

    Attributes:
        brightness: mean luma, 0..1.
        brightest: luma of its brightest areas, 0..1.
        contrast: difference between neighbouring patches relative to ``brightest``, 0 or more.
        structure: the same difference as a multiple of the noise, 0 or more.
    """

    brightness: float
    brightest: float
    contrast: float
    structure: float


def measure(luma: Luma) -> PictureMeasures | None:
    """Return the measures of a picture; None for one of less than 24 pixels on a side."""
    sample = _sample(luma)
    if min(sample.shape) < 2 * _AREA * _PATCH:  # no patch has a neighbour
        return None
    areas = _means(sample, _AREA)
    patches = _means(areas, _PATCH)
    steps = [np.abs(np.diff(patches, axis=axis)).ravel() for axis in (0, 1)]
    difference = float(np.percentile(np.concatenate(steps), 99))
    brightest = float(np.percentile(areas, 99.8))
    variance = float(np.median(_means(np.square(sample, dtype=np.float32), _AREA) - areas**2))
    noise = math.sqrt(max(variance, 1 / 12)) / (_AREA * _PATCH)  # rounding: a variance of 1/12
    return PictureMeasures(
        brightness=float(areas.mean()) / 255,
        brightest=brightest / 255,
        contrast=difference / brightest if brightest else 0.0,
        structure=difference / noise,
    )


def look_of(measures: PictureMeasures | None, before: Look = "normal") -> Look:
    """Return whether a picture shows something; ``before``: what the one before it was."""

    def limit(value: float, state: Look) -> float:
        return value * _LEAVE if before == state else value

    if measures is None:
        return "normal"
    levels = measures.brightest * 255
    if levels < limit(BLACK, "dark"):
        return "dark"
    if levels < limit(DIM, "dark") and measures.structure < limit(STRUCTURE_MIN, "dark"):
        return "dark"
    if measures.contrast < limit(CONTRAST_MIN, "flat"):
        return "flat"
    return "normal"


class Repeats:
    """Detects repeated pictures.

    A picture is a repeat if it equals the one before. Of an encoded source it is one, too, if it
    equals one of the last 16 and is close to the one before: a video encoder alternates between a
    few versions of a still picture. The pictures of a sensor are no repeats, because their noise
    differs. Costs some microseconds while pictures differ. Not thread-safe.

    Args:
        encoded: whether a video encoder may have made the pictures.
    """

    def __init__(self, *, encoded: bool) -> None:
        self._encoded = encoded
        self._last: Luma | None = None
        self._samples: dict[int, None] = {}
        self._pictures: dict[int, None] = {}

    def update(self, luma: Luma) -> bool:
        """Return whether the picture, which follows the one of the last call, is a repeat."""
        last, self._last = self._last, luma
        sample = _spaced(luma, _ROWS // _AREA, _COLUMNS // _AREA)
        known = _remember(self._samples, hash((luma.shape, sample.tobytes())))
        if not known or last is None or last.shape != luma.shape:
            return False
        if np.array_equal(last, luma):
            return True
        if not self._encoded:
            return False
        return _remember(self._pictures, hash(luma.tobytes())) and _are_close(last, luma)


def _remember(keys: dict[int, None], key: int) -> bool:
    """Return whether ``key`` is one of the latest; keep it as the newest."""
    known = key in keys
    keys.pop(key, None)
    keys[key] = None
    if len(keys) > _VERSIONS_MAX:
        del keys[next(iter(keys))]
    return known


def _are_close(one: Luma, other: Luma) -> bool:
    return bool(np.abs(_areas(one) - _areas(other)).max() <= _CLOSE)


def _areas(luma: Luma) -> Floats:
    sample = _sample(luma)
    return _means(sample, min(_AREA, *sample.shape))


def _sample(luma: Luma) -> Luma:
    """Return at most some 320 x 180 pixels, evenly spaced."""
    return _spaced(luma, _ROWS, _COLUMNS)


def _spaced(luma: Luma, rows: int, columns: int) -> Luma:
    """Return every n-th pixel, so that about ``rows`` by ``columns`` of them are left."""
    down, across = max(1, luma.shape[0] // rows), max(1, luma.shape[1] // columns)
    return luma[down // 2 :: down, across // 2 :: across]


def _means(values: Luma | Floats, side: int) -> Floats:
    """Return the means of squares of ``side`` values; what is left over at the ends is cut off."""
    height, width = (length // side * side for length in values.shape)
    whole = values[:height, :width].astype(np.float32)
    lines = np.zeros((height // side, width), np.float32)
    for at in range(side):
        lines += whole[at::side]
    means = np.zeros((height // side, width // side), np.float32)
    for at in range(side):
        means += lines[:, at::side]
    means /= side * side
    return means
