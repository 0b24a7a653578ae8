"""The channels of an affect stream, and a face as one sample of them.

NaN stands for what is not there, as LSL has no null: the values of a face that was not classified,
and every value but the message's number where no face is.
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
)
"""In the order of a sample's values."""


def sample(face: Face | None, seq: int) -> list[float]:
    """Return the values of a face in the order of ``CHANNELS``.

    Args:
        face: None: no face is there.
        seq: number of the message.
    """
    if face is None:
        return [_NAN] * (len(CHANNELS) - 1) + [float(seq)]
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
    return [*values, float(face.quality.usable), face.age_s, float(face.track), float(seq)]
