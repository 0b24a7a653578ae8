"""Names that processes, messages and tables share; no other module repeats them."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

PUBLISH_ENDPOINT: Final = "tcp://127.0.0.1:5555"
SERVICE_ENDPOINT: Final = "tcp://127.0.0.1:5556"
"""Where a daemon publishes, and answers requests, by default; clients connect there by default."""

ExpressionName = Literal[
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"
]
EXPRESSIONS: Final[tuple[ExpressionName, ...]] = get_args(ExpressionName)
"""AffectNet order: the order of every probability vector in this program."""

AffectSource = Literal["network", "recalibration", "anchors"]
"""Where valence and arousal come from: the network's own output, or points of the expressions,
weighted with their probabilities: fitted ones of a recalibration, or anchors of the literature
where a network has no such output."""

HeadName = Literal["network", "features", "mesh"]
"""What gave the probabilities of an expression: the network's own output, a head that was fitted to
its features, or one that was fitted to its features and the face mesh's coefficients."""

FoundBy = Literal["full", "region", "predicted"]
"""How the box of a face came about: from a look at the full frame, from one at a region round the
place where the face was expected, or predicted from the frames before."""

ClockName = Literal["monotonic", "boottime", "media"]
"""The clock of ``sensor_ns``; ``media`` is the presentation time within a file."""

SourceState = Literal["starting", "waiting", "running", "stalled", "absent", "restarting", "ended"]
"""State of the source of frames: ``waiting`` for a subscriber, ``absent`` if it cannot be opened,
``restarting`` while there is no worker."""

PictureState = Literal["normal", "dark", "flat", "frozen", "still"]
PICTURE_STATES: Final[tuple[PictureState, ...]] = get_args(PictureState)
"""What the pictures show: something, nothing (``dark``, ``flat``), or always the same (``frozen``
for a camera, ``still`` for a file)."""

RateReason = Literal["temperature", "under_voltage"]
"""Why the frame rate is limited."""

ScheduleReason = Literal["temperature", "under_voltage", "detector", "classifier"]
SCHEDULE_REASONS: Final[tuple[ScheduleReason, ...]] = get_args(ScheduleReason)
"""Why less is done for a frame than configured: the board, or a thread of the worker that is too
slow for the wanted rate."""

Grade = Literal["excellent", "fair", "poor", "unusable"]
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""Health grades, best first."""

AlarmRule = Literal[
    "eyes_closed", "not_read", "participant_gone", "source", "picture", "storage", "clock", "board",
    "no_logger",
]  # fmt: skip
ALARM_RULES: Final[tuple[AlarmRule, ...]] = get_args(AlarmRule)
"""Rules of ``[alarms]``: each names what is wrong; ``RULE_s`` is its key."""

PICTURE_GRADES: Final[Mapping[PictureState, Grade]] = {
    "dark": "poor",
    "flat": "poor",
    "frozen": "poor",
    "still": "fair",
}
"""The best grade that health can have in a state of the picture; ``normal``: any."""

BaselineState = Literal["none", "learning", "ready", "invalid"]
"""State of a participant's neutral baseline."""

BASELINE_MAX: Final = 0.9
"""Largest absolute valence or arousal of a valid neutral baseline. Above it, values relative to
the baseline would depend on rounding."""


def picture_words(state: str) -> str:
    """Return ``, picture STATE`` for a line of status; empty for ``normal``, which goes unsaid."""
    return "" if state == "normal" else f", picture {state}"
