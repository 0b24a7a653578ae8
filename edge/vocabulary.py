"""Names that processes, messages and tables share; no other module repeats these lists."""

from typing import Final, Literal, get_args

ExpressionName = Literal[
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"
]
EXPRESSIONS: Final[tuple[ExpressionName, ...]] = get_args(ExpressionName)
"""AffectNet order: the order of every probability vector in this program."""

ClockName = Literal["monotonic", "boottime", "media"]
"""The clock of ``sensor_ns``; ``media`` is the presentation time within a file."""

SourceState = Literal["starting", "waiting", "running", "stalled", "absent", "restarting", "ended"]
"""State of the source of frames: ``waiting`` for a subscriber, ``absent`` if it cannot be opened,
``restarting`` while there is no worker."""

Grade = Literal["excellent", "fair", "poor", "unusable"]
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""Health grades, best first."""

BaselineState = Literal["none", "learning", "ready", "invalid"]
"""State of a participant's neutral baseline."""

BASELINE_MAX: Final = 0.9
"""Largest absolute valence or arousal of a valid neutral baseline. Above it, values relative to
the baseline would depend on rounding."""
