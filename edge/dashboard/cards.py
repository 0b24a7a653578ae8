"""What the page shows of one participant, seat or track."""

from typing import Any, Final

from edge.dashboard.history import History
from edge.protocol.face_mesh import Lids
from edge.protocol.messages import Face

GONE_S: Final = 20.0
"""Seconds after which the card of a track without a code or seat is removed."""


def key_of(face: Face, epoch: int) -> str:
    """Return the key of the card on which ``face`` is shown: its participant, seat or track."""
    if face.participant is not None:
        return f"p:{face.participant}"
    if face.seat is not None:
        return f"s:{face.seat}"
    return f"t:{epoch}.{face.track}"


class Card:
    """One card. Not thread-safe: ``State`` has the lock.

    Attributes:
        key: ``p:CODE``, ``s:SEAT`` or ``t:EPOCH.TRACK``.
        history: smoothed valence and arousal.
        history_version: grows when the past was added to ``history``.
        version: of the state when the card last changed.
        seen_ms: server's time when the face was last in a frame; None: never.
        read_ms: server's time when the face was last classified; None: never.
        in_view: whether the newest frame has the face.
        code, seat: of the participant and the place; None: none.
        track: newest track; None before the first.
        baseline: state of the participant's baseline.
        measured_ms: server's time when the face mesh last measured the face; None: never.
    """

    def __init__(self, key: str) -> None:
        kind, _, name = key.partition(":")
        self.key = key
        self.history = History()
        self.history_version = 0
        self.version = 0
        self.seen_ms: int | None = None
        self.read_ms: int | None = None
        self.in_view = False
        self.code: str | None = name if kind == "p" else None
        self.seat: str | None = name if kind == "s" else None
        self.track: int | None = None
        self.baseline = "none"
        self.measured_ms: int | None = None
        self._lids: Lids | None = None
        self.second = -1  # the second of the newest value
        self._face: Face | None = None

    @property
    def is_passing(self) -> bool:
        """Whether the card is of a track alone, and goes soon after it."""
        return self.key.startswith("t:")

    def show(self, face: Face, now_ms: int) -> None:
        """Show a face of the newest frame."""
        self._face = face
        self.code, self.track = face.participant, face.track
        self.seat = face.seat or self.seat
        self.seen_ms, self.in_view = now_ms, True
        if face.affect is not None:
            self.read_ms = now_ms
            self.baseline = face.affect.baseline
        if face.mesh is not None:  # not in every frame
            self.measured_ms, self._lids = now_ms, face.mesh.lids

    def continue_from(self, earlier: "Card") -> None:
        """Take over the history of the card on which the face was shown before."""
        for point in earlier.history.points():
            self.history.add(*point)
        self.second = max(self.second, earlier.second)
        self.history_version += 1

    def as_json(self) -> dict[str, Any]:
        """Return what the page gets."""
        face = self._face
        shown: dict[str, Any] = {
            "code": self.code,
            "seat": self.seat,
            "track": self.track,
            "in_view": self.in_view,
            "seen_ms": self.seen_ms,
            "read_ms": self.read_ms,
            "baseline": self.baseline,
            "history": self.history_version,
        }
        if self._lids is not None:
            shown["measured_ms"] = self.measured_ms
            shown["lids"] = self._lids.model_dump(mode="json")
        if face is None or not self.in_view:
            return shown
        quality = face.quality
        shown["box"] = face.box
        shown["score"] = face.score
        shown["reasons"] = quality.reasons
        shown["quality"] = [
            quality.size_px, quality.sharpness, quality.brightness, quality.saturated, quality.yaw,
        ]  # fmt: skip
        if face.expression is not None:
            shown["label"] = face.expression.stable_label
            shown["shares"] = list(face.expression.probabilities.__dict__.values())
        affect = face.affect
        if affect is not None:
            smoothed, relative = affect.smoothed, affect.relative
            shown["raw"] = [affect.valence, affect.arousal]
            shown["smoothed"] = [smoothed.valence, smoothed.arousal]
            shown["relative"] = relative and [relative.valence, relative.arousal]
        return shown
