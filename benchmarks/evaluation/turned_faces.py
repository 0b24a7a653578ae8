"""Faces that are turned by a known rotation, or whose lids are closed, made from one photograph.

The face mesh of a frontal face gives its points in three dimensions. They are turned, and the
photograph is drawn on the triangles between them. Around the face, two rings of further points
carry hair and neck along. So the change of pose between two pictures is known; the pose of the
photograph itself is not. What the photograph does not show, such as the side of a nose, is
stretched.
"""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Floats, Luma

Doubles = NDArray[np.float64]

_RINGS: Final = (1.3, 1.8)  # distances of the rings from the middle, in sizes of the face
_RING_POINTS: Final = 32
_LIDS: Final = (
    (247, 246, 7), (30, 161, 163), (29, 160, 144), (27, 159, 145), (28, 158, 153), (56, 157, 154),
    (190, 173, 155), (467, 466, 249), (260, 388, 390), (259, 387, 373), (257, 386, 374),
    (258, 385, 380), (286, 384, 381), (414, 398, 382),
)  # fmt: skip
"""Points above the upper lid, on its edge, and on the lower lid's edge below."""
_FACE_POINTS: Final = 468  # without the irises, which lie on the eyes


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Doubles:
    """Return the matrix that turns points (x right, y down, z away) as ``HeadPose`` counts."""
    yaw, pitch, roll = (math.radians(each) for each in (yaw_deg, pitch_deg, roll_deg))
    about_y = [[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]]
    about_x = [
        [1, 0, 0],
        [0, math.cos(pitch), math.sin(pitch)],
        [0, -math.sin(pitch), math.cos(pitch)],
    ]
    about_z = [
        [math.cos(roll), -math.sin(roll), 0],
        [math.sin(roll), math.cos(roll), 0],
        [0, 0, 1],
    ]
    turned: Doubles = np.array(about_y) @ np.array(about_x) @ np.array(about_z)
    return turned


class FaceModel:
    """A photograph of a frontal face, and the points and triangles on it.

    Args:
        luma: the photograph, uint8 (height, width).
        points: of its mesh, float32 (478, 3), pixels.
    """

    def __init__(self, luma: Luma, points: Floats) -> None:
        self._luma = luma
        face = points[:_FACE_POINTS].astype(np.float64)
        self.middle = (face.min(axis=0) + face.max(axis=0)) / 2
        half = (face.max(axis=0) - face.min(axis=0))[:2] / 2
        angles = np.arange(_RING_POINTS) * 2 * math.pi / _RING_POINTS
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * half
        back = face[:, 2].max()
        rings = [
            np.column_stack([self.middle[:2] + circle * share, np.full(_RING_POINTS, back)])
            for share in _RINGS
        ]
        self._face_count = len(face)
        self.points: Doubles = np.concatenate([face, *rings])
        self._triangles = _triangles(self.points[:, :2])

    def turned(self, yaw_deg: float, pitch_deg: float, roll_deg: float) -> Luma:
        """Return the photograph with the head turned further by these angles."""
        matrix = rotation(yaw_deg, pitch_deg, roll_deg)
        return self._drawn((self.points - self.middle) @ matrix.T + self.middle)

    def with_lids(self, openness: float) -> Luma:
        """Return the photograph with the upper lids at ``openness`` of their height, 0 to 1.

        The edge of the lid with its lashes comes down as it is, the skin above it is stretched, and
        what the photograph shows of the eye is squeezed.
        """
        moved = self.points.copy()
        for above, upper, lower in _LIDS:
            down = (self.points[lower] - self.points[upper]) * (1 - openness)
            moved[[above, upper]] += down
        return self._drawn(moved)

    def _drawn(self, places: Doubles) -> Luma:
        """Return the photograph drawn on triangles at ``places``, the nearest last."""
        picture = self._luma.copy()
        height, width = picture.shape
        depths = places[self._triangles, 2].mean(axis=1)
        for triangle in self._triangles[np.argsort(-depths)]:
            begin = self.points[triangle, :2].astype(np.float32)
            end = places[triangle, :2].astype(np.float32)
            left, top = np.maximum(np.floor(end.min(axis=0)).astype(int), 0)
            right, bottom = np.minimum(np.ceil(end.max(axis=0)).astype(int) + 1, (width, height))
            if right <= left or bottom <= top:
                continue
            corner = np.array([left, top], np.float32)
            affine = cv2.getAffineTransform(begin, end - corner)
            size = (int(right - left), int(bottom - top))
            patch = cv2.warpAffine(self._luma, affine, size, flags=cv2.INTER_LINEAR)
            mask = np.zeros(size[::-1], np.uint8)
            cv2.fillConvexPoly(mask, np.rint((end - corner) * 16).astype(np.int32), 1, shift=4)
            part = picture[top:bottom, left:right]
            np.copyto(part, patch, where=mask.astype(bool))
        return picture


def _triangles(points: Doubles) -> NDArray[np.intp]:
    """Return the Delaunay triangles of points in a plane, (n, 3) indices."""
    left, top = np.floor(points.min(axis=0)) - 2
    width, height = np.ceil(points.max(axis=0)) - (left, top) + 4
    division = cv2.Subdiv2D((int(left), int(top), int(width), int(height)))
    places = {}
    for index, (x, y) in enumerate(points.astype(np.float32)):
        division.insert((float(x), float(y)))
        places[float(x), float(y)] = index
    found = [
        [places.get((float(each[k]), float(each[k + 1]))) for k in (0, 2, 4)]
        for each in division.getTriangleList()
    ]
    return np.array([each for each in found if None not in each], np.intp)
