"""Converts the pipeline's results to the faces of a message.

They are rounded and encoded here, once: models that check each number of them would take most of
the time of a message.
"""

from collections.abc import Iterable
from typing import Any, Final

from pydantic_core import to_json

from edge.config import MeshConfig
from edge.vision.mesh.names import COEFFICIENTS, SUMMARY
from edge.vision.values import Affect, FaceState
from edge.vocabulary import EXPRESSIONS

MESH_OFF: Final = MeshConfig()

_NAMES: Final = {"none": (), "summary": SUMMARY, "all": COEFFICIENTS}
_PLACES: Final = {name: place for place, name in enumerate(COEFFICIENTS)}


def faces_json(faces: Iterable[FaceState], mesh: MeshConfig = MESH_OFF) -> bytes:
    """Return the faces of a frame message as JSON; ``mesh`` says which parts of a mesh.

    Fields, order and rounding are those of ``edge.protocol.messages.Face``.
    """
    return to_json([_face(face, mesh) for face in faces])


def _face(face: FaceState, mesh: MeshConfig) -> dict[str, Any]:
    detection, quality = face.track.detection, face.quality
    box = detection.box
    landmarks = None if detection.landmarks is None else detection.landmarks.tolist()
    expression = affect = None
    if face.prediction is not None and face.smoothed is not None:
        probabilities = face.prediction.probabilities.tolist()
        shares: dict[str, float | None] = {
            name: _share(share) for name, share in zip(EXPRESSIONS, probabilities, strict=True)
        }
        for name in face.prediction.unknown:
            shares[name] = None
        expression = {
            "label": EXPRESSIONS[probabilities.index(max(probabilities))],
            "probabilities": shares,
            "stable_label": face.smoothed.stable_label,
            "age_s": round(face.reading_age_ns / 1e9, 3),
            "head": face.prediction.head,
        }
        affect = {
            **_point(face.prediction.affect),
            "smoothed": _point(face.smoothed.affect),
            "relative": None,
            "baseline": "none",
            "source": face.prediction.affect_source,
        }
    return {
        "track": face.track.id,
        "participant": None,
        "seat": face.seat,
        "box": [_pixels(box.x), _pixels(box.y), _pixels(box.width), _pixels(box.height)],
        "landmarks": landmarks and [[_pixels(x), _pixels(y)] for x, y in landmarks],
        "score": _share(detection.score),
        "found": detection.found,
        "age_s": round(face.track.age_s, 3) + 0.0,
        "quality": {
            "usable": quality.usable,
            "reasons": quality.reasons,
            "size_px": _pixels(quality.size_px),
            "sharpness": _share(quality.sharpness),
            "brightness": _share(quality.brightness),
            "saturated": _share(quality.saturated),
            "yaw": None if quality.yaw_deg is None else _pixels(quality.yaw_deg),
        },
        "expression": expression,
        "affect": affect,
        "mesh": _mesh(face, mesh),
    }


def _mesh(face: FaceState, config: MeshConfig) -> dict[str, Any] | None:
    mesh, lids = face.mesh, face.lids
    if mesh is None or lids is None:
        return None
    coefficients = mesh.coefficients.tolist()
    landmarks = None
    if config.landmarks:
        landmarks = [[_pixels(x), _pixels(y)] for x, y, _ in mesh.points.tolist()]
    return {
        "pose": {
            "yaw": _rounded(mesh.yaw_deg, 1),
            "pitch": _rounded(mesh.pitch_deg, 1),
            "roll": _rounded(mesh.roll_deg, 1),
        },
        "eyes": {"left": _rounded(mesh.left_eye, 4), "right": _rounded(mesh.right_eye, 4)},
        "mouth": _rounded(mesh.mouth, 4),
        "lids": {
            "perclos": None if lids.perclos is None else _rounded(lids.perclos, 4),
            "perclos_reason": lids.perclos_reason,
            "blinks_per_min": None
            if lids.blinks_per_min is None
            else _rounded(lids.blinks_per_min, 1),
            "blinks_reason": lids.blinks_reason,
            "closed_s": None if lids.closed_ns is None else round(lids.closed_ns / 1e9, 3),
        },
        "coefficients": {
            name: _share(coefficients[_PLACES[name]]) for name in _NAMES[config.coefficients]
        },
        "landmarks": landmarks,
    }


def _point(affect: Affect) -> dict[str, float]:
    return {"valence": _share(affect.valence), "arousal": _share(affect.arousal)}


# Twice as fast as round(value, 4), and the same for every float32: times 10,000 it is exact in a
# double.


def _pixels(value: float) -> float:
    return round(value * 10) / 10


def _share(value: float) -> float:
    return round(value * 10_000) / 10_000


def _rounded(value: float, digits: int) -> float:
    """Round a double, for which the ways above may differ in the last digit."""
    return round(value, digits) + 0.0
