"""The channels of an affect stream, and a face as one sample of them.

NaN stands for what is not there, as LSL has no null: the values of a face that was not classified,
those of the mesh where it was not measured, and every value but the message's number where no face
is.
"""

import math
from dataclasses import dataclass
from typing import Final

from edge.protocol.messages import Face
from edge.vocabulary import EXPRESSIONS

_NAN: Final = math.nan


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a stream: its label, unit and type, as in the stream's metadata."""

    label: str
    unit: str
    type: str


CHANNELS: Final = (
    *(
        Channel(f"{axis}{suffix}", "normalized", "Affect")
        for suffix in ("", "_smoothed", "_relative")
        for axis in ("valence", "arousal")
    ),
    *(Channel(name, "probability", "Expression") for name in EXPRESSIONS),
    Channel("usable", "boolean", "Quality"),
    Channel("age", "seconds", "Track"),
    Channel("track", "count", "Track"),
    Channel("seq", "count", "Message"),
    Channel("head_yaw", "degrees", "Mesh"),
    Channel("head_pitch", "degrees", "Mesh"),
    Channel("head_roll", "degrees", "Mesh"),
    Channel("left_eye", "normalized", "Mesh"),
    Channel("right_eye", "normalized", "Mesh"),
    Channel("mouth", "normalized", "Mesh"),
    Channel("perclos", "normalized", "Mesh"),
)
"""In the order of a sample's values."""


def sample(face: Face | None, seq: int) -> list[float]:
    """Return the values of a face in the order of ``CHANNELS``.

    Args:
        face: None: no face is there.
        seq: number of the message.
    """
    if face is None:
        return [float(seq) if each.label == "seq" else _NAN for each in CHANNELS]
    values = [_NAN] * 6
    if (affect := face.affect) is not None:
        values = [affect.valence, affect.arousal, affect.smoothed.valence, affect.smoothed.arousal]
        relative = affect.relative
        values += [_NAN, _NAN] if relative is None else [relative.valence, relative.arousal]
    if face.expression is None:
        values += [_NAN] * len(EXPRESSIONS)
    else:
        shares = (getattr(face.expression.probabilities, name) for name in EXPRESSIONS)
        values += [_NAN if share is None else share for share in shares]
    values += [float(face.quality.usable), face.age_s, float(face.track), float(seq)]
    if (mesh := face.mesh) is None:
        return values + [_NAN] * (len(CHANNELS) - len(values))
    pose, eyes, perclos = mesh.pose, mesh.eyes, mesh.lids.perclos
    values += [pose.yaw, pose.pitch, pose.roll, eyes.left, eyes.right, mesh.mouth]
    return [*values, _NAN if perclos is None else perclos]
