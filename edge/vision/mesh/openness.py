"""How far eyes and mouth are open, from distances between points of the mesh.

An eye is measured by the mean of three distances between its lids, relative to its width (T.
Soukupova, J. Cech: *Real-Time Eye Blink Detection using Facial Landmarks*, CVWW 2016). Distances
are in three dimensions, so that a turned head changes them little. The ends of the scale were
chosen on 156 near-infrared photographs of 15 people: eyes that are closed have 0.04 to 0.14, half
of all eyes 0.25 to 0.34, wide eyes up to 0.45.
"""

from typing import Final

import numpy as np

from edge.vision.values import Floats

# outer corner, inner corner, pairs of an upper and a lower lid's point
_LEFT_EYE: Final = (263, 362, ((387, 373), (386, 374), (385, 380)))
_RIGHT_EYE: Final = (33, 133, ((160, 144), (159, 145), (158, 153)))
_MOUTH: Final = (78, 308, ((13, 14),))  # corners and middle of the inner lips

_EYE_CLOSED, _EYE_OPEN = 0.08, 0.32
_MOUTH_OPEN: Final = 0.7
"""A mouth as high as 0.7 of its width is open: a yawn or a cry reaches 0.5 to 1.1."""

_Part = tuple[int, int, tuple[tuple[int, int], ...]]


def eyes_openness(points: Floats) -> tuple[float, float]:
    """Return how far the person's left and right eye are open: 0 closed, 1 as usual or wider.

    Args:
        points: (478, 3), in one unit.
    """
    left, right = (
        (_aspect(points, eye) - _EYE_CLOSED) / (_EYE_OPEN - _EYE_CLOSED)
        for eye in (_LEFT_EYE, _RIGHT_EYE)
    )
    return _share(left), _share(right)


def mouth_openness(points: Floats) -> float:
    """Return how far the lips are apart: 0 closed, 1 wide open; see ``eyes_openness``."""
    return _share(_aspect(points, _MOUTH) / _MOUTH_OPEN)


def _aspect(points: Floats, part: _Part) -> float:
    """Return the height of a part relative to its width."""
    begin, end, pairs = part
    width = float(np.linalg.norm(points[begin] - points[end]))
    heights = [float(np.linalg.norm(points[upper] - points[lower])) for upper, lower in pairs]
    return sum(heights) / len(heights) / width if width > 0 else 0.0


def _share(value: float) -> float:
    return max(0.0, min(1.0, value))
