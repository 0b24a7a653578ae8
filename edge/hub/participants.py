"""Participants: codes assigned to tracks, and the neutral baseline of each code.

A *participant* is a code that an operator assigns to a track. A track ends when its face is lost
for long; the code stays, and assigning it to another track moves it there. A *baseline* is the
mean valence and arousal of a person's neutral face, learnt between an explicit start and stop. An
automatic baseline would take a person's most frequent expression for neutral, which is wrong for
whoever holds another one. The hub keeps two means per person, in memory; no picture, no feature.

Values relative to the baseline (``Point.relative_to``) are for one person over time. Between people
they are worse than the prediction itself: ``recipes recalibrate`` compares both with annotated
changes.

This state lives in the hub because it has to outlive a worker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge import clock
from edge.config import AffectConfig
from edge.errors import RequestRefused
from edge.protocol.messages import Face, FaceAffect, Point
from edge.vocabulary import BASELINE_MAX, BaselineState

PARTICIPANTS_MAX: Final = 256
"""Codes kept at a time."""

_STEP_MAX_S: Final = 1.0
"""One prediction stands for at most this much time."""

_NOT_NEUTRAL: Final = ("happy", "surprise")
"""Expressions that networks do not confuse with neutral (unlike sad, anger and contempt)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A person's neutral valence and arousal, or the reason why it is not known.

    Attributes:
        read_s: time between start and stop in which the face was classified.
        readings: number of predictions.
        point: their mean; the origin where there were none.
        reason: why this cannot serve as a baseline; empty where it can.
    """

    read_s: float
    readings: int
    point: Point
    reason: str = ""


@dataclass(slots=True)
class _Window:
    """Sums over the predictions between start and stop; of constant size, however many they are."""

    read_s: float = 0.0
    readings: int = 0
    last_ns: int | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    squares: list[float] = field(default_factory=lambda: [0.0, 0.0])
    not_neutral: list[float] = field(default_factory=lambda: [0.0] * len(_NOT_NEUTRAL))

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
        for index, name in enumerate(_NOT_NEUTRAL):
            self.not_neutral[index] += getattr(face.expression.probabilities, name)

    def assess(self, config: AffectConfig) -> Baseline:
        """Return the baseline, with the first reason against it, if any."""
        count = max(1, self.readings)
        valence, arousal = (total / count for total in self.sums)
        deviations = [
            max(0.0, square / count - (total / count) ** 2) ** 0.5
            for total, square in zip(self.sums, self.squares, strict=True)
        ]
        share, name = max(
            zip((total / count for total in self.not_neutral), _NOT_NEUTRAL, strict=True)
        )
        reason = ""
        if self.read_s < config.baseline_min_s:
            reason = (
                f"classified for {self.read_s:.1f} s only;"
                f" expected {config.baseline_min_s:g} s or more"
            )
        elif share > config.baseline_held_max:
            reason = f"not neutral: {name} at {share:.2f} on average"
        elif max(deviations) > config.baseline_spread_max:
            axis = ("valence", "arousal")[deviations.index(max(deviations))]
            reason = f"not neutral: {axis} varied by {max(deviations):.2f}"
        elif max(abs(valence), abs(arousal)) > BASELINE_MAX:
            reason = (
                f"too extreme for a neutral face: valence {valence:+.2f}, arousal {arousal:+.2f}"
            )
        point = Point(valence=valence, arousal=arousal)
        return Baseline(round(self.read_s, 3), self.readings, point, reason)


@dataclass(frozen=True, slots=True)
class _Presence:
    """Monotonic times of the first and the last frame of the time in view, present or past."""

    begin_ns: int
    last_ns: int


class Participants:
    """Codes of tracks, and baselines of codes. Only for the hub's main loop."""

    def __init__(self, config: AffectConfig, *, vanish_s: float) -> None:
        """Begin without participants; a face lost for ``vanish_s`` has no track any more."""
        self._config = config
        self._vanish_ns = round(vanish_s * 1e9)
        self._last_seen_ns: dict[int, int] = {}  # by track; of those still in view
        self._codes: dict[int, str] = {}  # by track
        self._open_ns: dict[int, int] = {}  # when last seen, by track with a code, until it ends
        self._ended: list[tuple[int, str]] = []  # tracks with codes, until they are taken
        self._presences: dict[str, _Presence] = {}  # by code
        self._windows: dict[str, _Window] = {}
        self._baselines: dict[str, Baseline] = {}

    def assign(self, track: int, code: str) -> None:
        """Assign ``code`` to ``track``; no other track keeps it.

        Raises:
            RequestRefused: the track is not in view, there are too many codes, or a baseline is
                being learnt from another face in view.
        """
        if track not in self._last_seen_ns:
            in_view = _join(self._last_seen_ns)
            raise RequestRefused(f"track {track} is not in view; in view: {in_view}")
        if code not in self._known() and len(self._known()) >= PARTICIPANTS_MAX:
            raise RequestRefused(f"{PARTICIPANTS_MAX} participants are known already; release some")
        before = next((each for each, other in self._codes.items() if other == code), track)
        if code in self._windows and before != track and before in self._last_seen_ns:
            raise RequestRefused(
                f"a baseline of {code} is being learnt from track {before}, in view; stop it first"
            )
        now_ns = clock.monotonic_ns()
        presence = _Presence(now_ns, now_ns)
        if self._codes.get(before) == code and before in self._last_seen_ns:
            presence = self._presences[code]  # moved within the view
        self._unassign(code)
        self._codes[track] = code
        known = self._known()  # without the code that had the track
        self._presences = {each: at for each, at in self._presences.items() if each in known}
        self._presences[code] = presence
        self._open_ns[track] = self._last_seen_ns[track]

    def clear_view(self) -> None:
        """Note that nobody is in view: no frame will come for a while, or only with new tracks."""
        self._last_seen_ns = {}

    def end_tracks(self) -> None:
        """Note that all tracks have ended: the next worker numbers its tracks anew."""
        self.clear_view()
        for track in list(self._open_ns):
            self._end(track)

    def take_ended(self) -> list[tuple[int, str]]:
        """Return tracks that had a code and have ended, with the code; each only once."""
        ended, self._ended = self._ended, []
        return ended

    def release(self, code: str) -> None:
        """Forget ``code``: its track, its baseline, and the one being learnt.

        Raises:
            RequestRefused: there is no such participant.
        """
        if code not in self._known():
            raise RequestRefused(f"no participant {code}; known: {_join(self._known())}")
        self._unassign(code)
        self._presences.pop(code, None)
        self._windows.pop(code, None)
        self._baselines.pop(code, None)

    def start_baseline(self, code: str) -> None:
        """Begin to learn the neutral baseline of ``code``; an earlier one is dropped.

        Raises:
            RequestRefused: nobody in view has this code.
        """
        in_view = [self._codes[track] for track in self._last_seen_ns if track in self._codes]
        if code not in in_view:
            raise RequestRefused(
                f"no participant {code} in view; in view: {_join(in_view)}; assign the code to a"
                " track first: affect-edge participant assign TRACK CODE"
            )
        self._windows[code] = _Window()
        self._baselines.pop(code, None)

    def stop_baseline(self, code: str) -> Baseline:
        """End learning and return the baseline, which is used from now on unless it has a reason.

        Raises:
            RequestRefused: no baseline of ``code`` is being learnt.
        """
        window = self._windows.pop(code, None)
        if window is None:
            raise RequestRefused(f"no baseline of {code} is being learnt; start one first")
        self._baselines[code] = baseline = window.assess(self._config)
        return baseline

    def as_list(self) -> list[dict[str, Any]]:
        """Return every participant with track (null: on none), whether in view, and baseline.

        ``since_ns``: monotonic time from which on the participant has been in view, or, if not in
        view, of the last frame with the participant.
        """
        tracks = {code: track for track, code in self._codes.items()}
        participants = []
        for code in sorted(self._known()):
            in_view = tracks.get(code) in self._last_seen_ns
            presence = self._presences[code]
            participants.append(
                {
                    "participant": code,
                    "track": tracks.get(code),
                    "in_view": in_view,
                    "since_ns": presence.begin_ns if in_view else presence.last_ns,
                    "baseline": self._state(code),
                }
            )
        return participants

    def update(self, faces: Sequence[Face], sensor_ns: int) -> list[Face]:
        """Process the faces of a frame; return them with codes, baselines and relative values.

        Args:
            faces: those of one frame, in its order.
            sensor_ns: when it was taken.
        """
        before = {
            track: at for track, at in self._last_seen_ns.items() if self._is_alive(at, sensor_ns)
        }
        self._last_seen_ns = before | dict.fromkeys((face.track for face in faces), sensor_ns)
        if self._open_ns:
            in_frame = {face.track for face in faces}
            for track, at in list(self._open_ns.items()):
                if track not in in_frame and not self._is_alive(at, sensor_ns):
                    self._end(track)
        now_ns = clock.monotonic_ns()
        return [
            self._with_participant(face, sensor_ns, now_ns, was_in_view=face.track in before)
            for face in faces
        ]

    def _is_alive(self, last_ns: int, sensor_ns: int) -> bool:
        # a time in the future is of a clock that has since started again
        return 0 <= sensor_ns - last_ns <= self._vanish_ns

    def _end(self, track: int) -> None:
        del self._open_ns[track]
        self._ended.append((track, self._codes[track]))

    def _with_participant(
        self, face: Face, sensor_ns: int, now_ns: int, *, was_in_view: bool
    ) -> Face:
        code = self._codes.get(face.track)
        if code is None:
            return face
        self._open_ns[face.track] = sensor_ns
        begin_ns = self._presences[code].begin_ns if was_in_view else now_ns
        self._presences[code] = _Presence(begin_ns, now_ns)
        affect = face.affect
        if affect is not None:
            if (window := self._windows.get(code)) is not None:
                window.add(face, sensor_ns)
            affect = self._with_baseline(affect, code)
        return face.model_copy(update={"participant": code, "affect": affect})

    def _with_baseline(self, affect: FaceAffect, code: str) -> FaceAffect:
        state, relative = self._state(code), None
        if state == "ready":
            relative = affect.relative_to(self._baselines[code].point)
        return affect.model_copy(update={"relative": relative, "baseline": state})

    def _state(self, code: str) -> BaselineState:
        if code in self._windows:
            return "learning"
        baseline = self._baselines.get(code)
        if baseline is None:
            return "none"
        return "invalid" if baseline.reason else "ready"

    def _known(self) -> set[str]:
        return {*self._codes.values(), *self._windows, *self._baselines}

    def _unassign(self, code: str) -> None:
        for track in [track for track, other in self._codes.items() if other == code]:
            del self._codes[track]
            self._open_ns.pop(track, None)


def _join(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items), key=lambda each: (len(each), each))) or "none"
