"""Who is who, and what their faces read at rest.

A *participant* is a code that an operator gives to a track. Tracks end when a face is lost for
long, codes stay: giving a code to another track moves it there. A *baseline* is what the network
reads from a person's face at rest, learnt in a window that somebody begins and ends on purpose:
what takes the commonest expression for rest is wrong about whoever holds one (a known failure of
automatic baselines). Kept are two means a person, in memory; no picture, no feature.

What is told from rest (``Point.relative_to``) is for one person over time. Between people it is
worse than the reading: ``recipes recalibrate`` compares both with annotated changes.

It lives in the hub, not beside the network, because it has to outlive a worker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge.config import AffectConfig
from edge.errors import RequestRefused
from edge.protocol.messages import Face, FaceAffect, Point
from edge.vocabulary import BASELINE_MAX, BaselineState

PEOPLE_MAX: Final = 256
"""Codes kept at a time."""

_STEP_MAX_S: Final = 1.0
"""One reading stands for at most this much time."""

_HELD: Final = ("happy", "surprise")
"""What resting faces are not taken for (they are for sad, angry or contemptuous ones)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a face reads at rest, or why that is not known.

    Attributes:
        read_s: for how long it was read in the window.
        readings: how often.
        point: the mean over the readings; the origin without any.
        reason: why this cannot serve as a baseline; empty where it can.
    """

    read_s: float
    readings: int
    point: Point
    reason: str = ""


@dataclass(slots=True)
class _Window:
    """Sums over the readings of a window; of constant size, however long it stays open."""

    read_s: float = 0.0
    readings: int = 0
    last_ns: int | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    squares: list[float] = field(default_factory=lambda: [0.0, 0.0])
    held: list[float] = field(default_factory=lambda: [0.0] * len(_HELD))

    def add(self, face: Face, sensor_ns: int) -> None:
        assert face.affect is not None
        assert face.expression is not None
        if self.last_ns is not None:
            self.read_s += min(max(0, sensor_ns - self.last_ns) / 1e9, _STEP_MAX_S)
        self.last_ns = sensor_ns
        self.readings += 1
        for axis, value in enumerate((face.affect.valence, face.affect.arousal)):
            self.sums[axis] += value
            self.squares[axis] += value * value
        for index, name in enumerate(_HELD):
            self.held[index] += getattr(face.expression.probabilities, name)

    def judged(self, config: AffectConfig) -> Baseline:
        """Return what was learnt, with the first reason against it, if any."""
        count = max(1, self.readings)
        valence, arousal = (total / count for total in self.sums)
        spreads = [
            max(0.0, square / count - (total / count) ** 2) ** 0.5
            for total, square in zip(self.sums, self.squares, strict=True)
        ]
        held, name = max(zip((total / count for total in self.held), _HELD, strict=True))
        reason = ""
        if self.read_s < config.baseline_min_s:
            reason = (
                f"read for {self.read_s:.1f} s only; expected {config.baseline_min_s:g} s or more"
            )
        elif held > config.baseline_held_max:
            reason = f"not at rest: {name} at {held:.2f} on average"
        elif max(spreads) > config.baseline_spread_max:
            axis = ("valence", "arousal")[spreads.index(max(spreads))]
            reason = f"not at rest: {axis} varied by {max(spreads):.2f}"
        elif max(abs(valence), abs(arousal)) > BASELINE_MAX:
            reason = f"no face rests at valence {valence:+.2f}, arousal {arousal:+.2f}"
        point = Point(valence=valence, arousal=arousal)
        return Baseline(round(self.read_s, 3), self.readings, point, reason)


class Participants:
    """Codes on tracks, and baselines of codes. For the hub's one loop."""

    def __init__(self, config: AffectConfig, *, vanish_s: float) -> None:
        """Begin with nobody; a face lost for ``vanish_s`` has no track any more."""
        self._config = config
        self._vanish_ns = round(vanish_s * 1e9)
        self._seen_ns: dict[int, int] = {}  # track -> when last seen; of those still in view
        self._codes: dict[int, str] = {}  # track -> code
        self._windows: dict[str, _Window] = {}
        self._rests: dict[str, Baseline] = {}

    def assign(self, track: int, code: str) -> None:
        """Give ``code`` to ``track``, taking it from the one that had it.

        Raises:
            RequestRefused: the track is not in view, there are too many codes, or a baseline is
                being learnt from another face in view.
        """
        if track not in self._seen_ns:
            raise RequestRefused(f"track {track} is not in view; in view: {_listed(self._seen_ns)}")
        if code not in self._known() and len(self._known()) >= PEOPLE_MAX:
            raise RequestRefused(f"{PEOPLE_MAX} participants are known already; release some")
        before = next((each for each, other in self._codes.items() if other == code), track)
        if code in self._windows and before != track and before in self._seen_ns:
            raise RequestRefused(
                f"a baseline of {code} is being learnt from track {before}, in view; stop it first"
            )
        self._take_away(code)
        self._codes[track] = code

    def nobody_in_view(self) -> None:
        """Take notice that no frame will come for a while, or only with new tracks."""
        self._seen_ns = {}

    def release(self, code: str) -> None:
        """Forget ``code``: its track, its window and its baseline.

        Raises:
            RequestRefused: there is no such participant.
        """
        if code not in self._known():
            raise RequestRefused(f"no participant {code}; known: {_listed(self._known())}")
        self._take_away(code)
        self._windows.pop(code, None)
        self._rests.pop(code, None)

    def start(self, code: str) -> None:
        """Begin to learn what the face of ``code`` reads at rest; what was known is dropped.

        Raises:
            RequestRefused: nobody in view has this code.
        """
        in_view = [self._codes[track] for track in self._seen_ns if track in self._codes]
        if code not in in_view:
            raise RequestRefused(
                f"no participant {code} in view; in view: {_listed(in_view)}; give a track a code"
                " first: affect-edge participant assign TRACK CODE"
            )
        self._windows[code] = _Window()
        self._rests.pop(code, None)

    def stop(self, code: str) -> Baseline:
        """End learning; return what was learnt, which holds from now on unless it has a reason.

        Raises:
            RequestRefused: nothing is being learnt about ``code``.
        """
        window = self._windows.pop(code, None)
        if window is None:
            raise RequestRefused(f"no baseline of {code} is being learnt; start one first")
        self._rests[code] = rest = window.judged(self._config)
        return rest

    def listed(self) -> list[dict[str, Any]]:
        """Return every participant with track (null: on none), whether in view, and baseline."""
        tracks = {code: track for track, code in self._codes.items()}
        return [
            {
                "participant": code,
                "track": tracks.get(code),
                "in_view": tracks.get(code) in self._seen_ns,
                "baseline": self._state(code),
            }
            for code in sorted(self._known())
        ]

    def seen(self, faces: Sequence[Face], sensor_ns: int) -> list[Face]:
        """Take notice of a frame's faces; return them with codes, baselines and relative values.

        Args:
            faces: those of one frame, in its order.
            sensor_ns: when it was taken.
        """
        self._seen_ns = {
            track: at for track, at in self._seen_ns.items()
            # a time of the future is of a clock that has since started again
            if 0 <= sensor_ns - at <= self._vanish_ns
        } | dict.fromkeys((face.track for face in faces), sensor_ns)  # fmt: skip
        return [self._named(face, sensor_ns) for face in faces]

    def _named(self, face: Face, sensor_ns: int) -> Face:
        code = self._codes.get(face.track)
        if code is None:
            return face
        affect = face.affect
        if affect is not None:
            if (window := self._windows.get(code)) is not None:
                window.add(face, sensor_ns)
            affect = self._told(affect, code)
        return face.model_copy(update={"participant": code, "affect": affect})

    def _told(self, affect: FaceAffect, code: str) -> FaceAffect:
        state, relative = self._state(code), None
        if state == "ready":
            relative = affect.relative_to(self._rests[code].point)
        return affect.model_copy(update={"relative": relative, "baseline": state})

    def _state(self, code: str) -> BaselineState:
        if code in self._windows:
            return "learning"
        rest = self._rests.get(code)
        if rest is None:
            return "none"
        return "invalid" if rest.reason else "ready"

    def _known(self) -> set[str]:
        return {*self._codes.values(), *self._windows, *self._rests}

    def _take_away(self, code: str) -> None:
        self._codes = {track: other for track, other in self._codes.items() if other != code}


def _listed(things: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, things), key=lambda each: (len(each), each))) or "none"
