"""Golden answer of the face mesh."""

from collections.abc import Callable
from typing import Final

import numpy as np

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.vision.golden import golden_picture
from edge.vision.inference.golden_schema import MeshGolden
from edge.vision.mesh.names import COEFFICIENTS
from edge.vision.values import Box, Detection, Luma, Mesh

_BOX: Final = (145.2, 59.4, 97.3, 118.7)
_LANDMARKS: Final = ((173.0, 101.0), (219.9, 104.9), (194.5, 126.3), (172.2, 143.4), (212.1, 146.4))
"""The face in the golden picture as CenterFace finds it."""

_POINTS: Final = (1, 10, 13, 14, 33, 61, 133, 152, 159, 234, 263, 291, 362, 386, 454, 468, 473)
"""Nose, forehead, lips, corners of the eyes and of the mouth, chin, lids, ears and irises."""

_POINT_MAX, _COEFFICIENT_MAX = 0.005, 0.02
"""A picture that is flipped, scaled wrongly or darker by a factor exceeds them by far."""


def mesh_golden(
    measure: Callable[[Luma, Detection, Stopwatch], Mesh | None],
) -> MeshGolden:
    """Return a network's mesh of the golden face, with tolerances.

    Args:
        measure: runs the reference network.

    Raises:
        ModelError: the network finds no face in the golden picture.
    """
    picture, digest = golden_picture()
    face = Detection(Box(*_BOX), np.array(_LANDMARKS, np.float32), 1.0)
    mesh = measure(picture, face, Stopwatch())
    if mesh is None:
        raise ModelError("the network finds no face in the golden picture; is it a face mesh?")
    return MeshGolden(
        kind="mesh",
        picture_sha256=digest,
        box=_BOX,
        landmarks=_LANDMARKS,
        points={
            place: (round(float(mesh.points[place, 0]), 2), round(float(mesh.points[place, 1]), 2))
            for place in _POINTS
        },
        coefficients={
            name: round(value, 4)
            for name, value in zip(COEFFICIENTS, mesh.coefficients.tolist(), strict=True)
        },
        point_max=_POINT_MAX,
        coefficient_max=_COEFFICIENT_MAX,
    )
