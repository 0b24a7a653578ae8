"""The words that every process, message and table shares. No other module spells them out."""

from typing import Final, Literal, get_args

ExpressionName = Literal[
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"
]
EXPRESSIONS: Final[tuple[ExpressionName, ...]] = get_args(ExpressionName)
"""AffectNet order: the order of every probability vector in this program."""

ClockName = Literal["monotonic", "boottime", "media"]
"""What ``sensor_ns`` counts on; ``media`` is the presentation time within a file."""

SourceState = Literal["starting", "waiting", "running", "stalled", "absent", "restarting", "ended"]
"""What the source of frames does: ``waiting`` for a subscriber, ``absent`` where it cannot be
opened, ``restarting`` while there is no worker."""

Grade = Literal["excellent", "fair", "poor", "unusable"]
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""Health grades, best first."""

BaselineState = Literal["none", "learning", "ready", "invalid"]
"""Of a participant's neutral baseline."""

BASELINE_MAX: Final = 0.9
"""Largest valence or arousal, in absolute value, of a valid neutral baseline: beyond it, values
relative to the baseline would depend on rounding."""
