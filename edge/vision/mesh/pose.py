"""Head pose from the points of the mesh, by the canonical face.

The canonical face is turned, scaled and moved so that its rigid points lie on the measured ones as
closely as possible (weighted least squares: W. Kabsch, Acta Crystallographica A32, 1976). The
rotation is the pose, relative to the line from the face to the camera. The points and weights are
those of ``geometry_pipeline_metadata_landmarks.binarypb`` in ``face_landmarker.task`` (Google,
Apache-2.0), rounded.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Floats

_RIGID: Final = (
    # point, weight, x to the person's left, y up, z out of the face (centimetres)
    (4, 0.0709, 0.0, -0.463, 7.587), (6, 0.0321, 0.0, 2.473, 5.789),
    (10, 0.0084, 0.0, 8.262, 4.482),
    (33, 0.0587, -4.446, 2.664, 3.173), (54, 0.0077, -6.279, 6.615, 1.426),
    (67, 0.0091, -3.524, 8.006, 3.729), (117, 0.0098, -5.259, 0.946, 2.974),
    (119, 0.0146, -3.301, 0.862, 3.873), (121, 0.0186, -1.821, 1.468, 4.224),
    (127, 0.0052, -7.743, 2.365, -2.005), (129, 0.1206, -1.786, -0.978, 4.850),
    (132, 0.0056, -7.271, -2.891, -2.252), (133, 0.0533, -1.856, 2.585, 3.758),
    (136, 0.0669, -5.085, -7.179, 0.715), (143, 0.0148, -6.408, 2.236, 1.561),
    (147, 0.0143, -6.235, -1.944, 1.664), (198, 0.0255, -1.247, 0.230, 5.681),
    (205, 0.0473, -3.833, -1.537, 4.138), (263, 0.0587, 4.446, 2.664, 3.173),
    (284, 0.0077, 6.279, 6.615, 1.426), (297, 0.0091, 3.524, 8.006, 3.729),
    (346, 0.0098, 5.259, 0.946, 2.974), (348, 0.0146, 3.301, 0.862, 3.873),
    (350, 0.0186, 1.821, 1.468, 4.224), (356, 0.0052, 7.743, 2.365, -2.005),
    (358, 0.1206, 1.786, -0.978, 4.850), (361, 0.0056, 7.271, -2.891, -2.252),
    (362, 0.0533, 1.856, 2.585, 3.758), (365, 0.0669, 5.085, -7.179, 0.715),
    (372, 0.0148, 6.408, 2.236, 1.561), (376, 0.0143, 6.235, -1.944, 1.664),
    (420, 0.0255, 1.247, 0.230, 5.681), (425, 0.0473, 3.833, -1.537, 4.138),
)  # fmt: skip
_INDICES: Final = tuple(int(row[0]) for row in _RIGID)
_WEIGHTS: Final = np.array([row[1] for row in _RIGID]) / sum(row[1] for row in _RIGID)
_CANONICAL: Final = np.array([row[2:] for row in _RIGID])
_CENTRED: Final = _CANONICAL - _WEIGHTS @ _CANONICAL


_SIZE: Final = float((_WEIGHTS @ _CENTRED**2).sum())

_ROUNDS: Final = 8
"""In each, the depths that the network gives are replaced by those of the turned canonical face: on
turned heads they are too small (yaw of 23 instead of 30 degrees; without them 26)."""


_SIDE_DEG: Final = 90.0

_YAW_TANGENT: Final = 1.18
"""By which the tangent of the measured yaw is too small: the network draws the points of a turned
head nearer to those of a frontal one. Of 15 people turned by known angles (``benchmarks mesh``),
any 14 give 1.175 to 1.195. The depths of their frontal faces agree with the canonical face, so that
it is not the turned pictures that are too flat."""


@dataclass(frozen=True, slots=True)
class HeadPose:
    """How the head is turned, degrees; all 0: it looks into the camera, upright.

    Attributes:
        yaw_deg: to the side, positive to the picture's right.
        pitch_deg: up and down, positive up.
        roll_deg: tilt, positive where the crown leans to the picture's right.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def head_pose(points: Floats) -> HeadPose:
    """Return the pose of the head.

    Args:
        points: (478, 3), x to the right, y down, z away from the camera, all in one unit.
    """
    measured = points[_INDICES, :].astype(np.float64) * (1.0, -1.0, -1.0)
    measured -= _WEIGHTS @ measured
    rotation = _rotation(measured)
    for _ in range(_ROUNDS):
        turned = _CENTRED @ rotation.T
        scale = (_WEIGHTS @ (measured * turned)).sum() / _SIZE
        measured[:, 2] = scale * turned[:, 2]
        rotation = _rotation(measured)
    x, y, z = rotation[:, 2].tolist()  # where the face looks
    return HeadPose(
        math.degrees(math.atan2(x, z)),
        math.degrees(math.asin(max(-1.0, min(1.0, y)))),
        math.degrees(math.atan2(-float(rotation[1, 0]), float(rotation[1, 1]))),
    )


def true_yaw_deg(yaw_deg: float) -> float:
    """Return the yaw of a head for the yaw of the points that the network gives it, degrees."""
    if abs(yaw_deg) >= _SIDE_DEG:
        return yaw_deg
    return math.degrees(math.atan(_YAW_TANGENT * math.tan(math.radians(yaw_deg))))


def _rotation(measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation that turns the canonical face most closely to ``measured``."""
    left, _, right = np.linalg.svd((measured * _WEIGHTS[:, None]).T @ _CENTRED)
    # a reflection may fit better than any rotation: turn the axis that matters least
    left[:, 2] *= math.copysign(1.0, float(np.linalg.det(left @ right)))
    rotation: NDArray[np.float64] = left @ right
    return rotation
