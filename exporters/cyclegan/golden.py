"""Golden answers of CycleGAN generators."""

from collections.abc import Callable
from typing import Final

from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference.golden_schema import TranslationGolden
from edge.vision.resize import area_means
from edge.vision.values import Box, Luma

_BOX: Final = (123.1, 38.9, 151.0, 151.0)
"""The square around the face in the golden picture, x, y, width, height."""

_CELLS: Final = (8, 8)
_LEVEL_MAX: Final = 6.0
_LEVEL_SHARES: Final = {"fp32": (0.3, 1 / 8), "int8": (2.0, 1 / 2)}
"""Precision -> (a, b): the mean error of the cells may be b times their standard deviation, but at
least a and at most ``_LEVEL_MAX`` grey levels. A flipped picture differs by about one standard
deviation."""


def translation_golden(
    translate: Callable[[Luma], Luma], size: tuple[int, int]
) -> TranslationGolden:
    """Return a generator's translation of the golden face, with tolerances.

    Args:
        translate: runs the reference generator.
        size: width and height of its input.
    """
    picture, digest = golden_picture()
    levels = area_means(translate(square_crop(picture, Box(*_BOX), size, 0.0)), _CELLS)
    bounds = {
        precision: round(min(_LEVEL_MAX, max(least, share * float(levels.std()))), 2)
        for precision, (least, share) in _LEVEL_SHARES.items()
    }
    return TranslationGolden(
        kind="translation",
        picture_sha256=digest,
        box=_BOX,
        levels=tuple(tuple(round(float(level), 1) for level in row) for row in levels),
        level_max=bounds["fp32"],
        int8_level_max=bounds["int8"],
    )
