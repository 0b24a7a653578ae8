"""Participants: codes of faces, by track or by seat, and the neutral baseline of each code.

A *participant* is a code that an operator assigns to a track, or, with seats in ``[zones]``, to a
seat. A track ends when its face is lost for long; the code stays. Without seats, assigning it to
another track moves it there; with seats, it goes to whoever sits there.

Values relative to the baseline (``Point.relative_to``) are for one person over time. Between people
they are worse than the prediction itself: ``recipes recalibrate`` compares both with annotated
changes.

In the daemon this state is the hub's, because it has to outlive a worker; ``edge.hub.kept_state``
keeps it over restarts. A recording that is analysed has its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge import clock
from edge.config import AffectConfig, ZonesConfig
from edge.errors import RequestRefused
from edge.participants.baselines import Baseline, BaselineWindow
from edge.participants.kept_models import KeptBaseline, KeptParticipant
from edge.participants.seats import Seats
from edge.protocol.detail import Detail
from edge.protocol.lid_events import EyesClosed, EyesLost, EyesOpened, LidEvent
from edge.protocol.messages import Face, FaceAffect, Point
from edge.protocol.participant_events import ParticipantTrackEnded, ParticipantTrackReturned
from edge.vocabulary import BaselineState

PARTICIPANTS_MAX: Final = 256
"""Codes kept at a time."""


@dataclass(frozen=True, slots=True)
class _Presence:
    """Monotonic times of the first and the last frame of the time in view, present or past."""

    begin_ns: int
    last_ns: int


class Participants:
    """Codes of tracks, and baselines of codes. Not thread-safe: in the daemon, for its main loop.

    Attributes:
        seats: codes of seats.
        changes: counts what a restart should not lose.
        visits: counts how often a known participant came or went, which it may lose.
    """

    def __init__(
        self, config: AffectConfig, *, vanish_s: float, zones: ZonesConfig | None = None
    ) -> None:
        """Begin without participants; a face lost for ``vanish_s`` has no track any more."""
        self.seats = Seats(zones or ZonesConfig())
        self.changes = self.visits = 0
        self._config = config
        self._vanish_ns = round(vanish_s * 1e9)
        self._last_seen_ns: dict[int, int] = {}  # by track; of those still in view
        self._codes: dict[int, str] = {}  # by track
        self._closures: dict[int, str] = {}  # codes of tracks whose eyes are closed
        self._open_ns: dict[int, int] = {}  # when last seen, by track with a code, until it ends
        self._events: list[Detail] = []  # until they are taken
        self._kept: set[str] = set()  # codes from before a restart, until they are on a track
        self._presences: dict[str, _Presence] = {}  # by code; none of a code that had no face yet
        self._seat_by_track: dict[int, str] = {}  # of tracks that have the code of a seat
        self._windows: dict[str, BaselineWindow] = {}
        self._baselines: dict[str, Baseline] = {}

    def assign(self, track: int, code: str) -> None:
        """Assign ``code`` to ``track``; no other track keeps it.

        Raises:
            RequestRefused: the track is not in view, there are too many codes, a baseline is
                being learnt from another face in view, or codes belong to seats.
        """
        if self.seats.names:
            raise RequestRefused(
                f"codes belong to seats; expected one of {', '.join(self.seats.names)}, received"
                f" track {track}"
            )
        if track not in self._last_seen_ns:
            in_view = _join(self._last_seen_ns)
            raise RequestRefused(f"track {track} is not in view; in view: {in_view}")
        self._require_room(code)
        before = next((each for each, other in self._codes.items() if other == code), track)
        if code in self._windows and before != track and before in self._last_seen_ns:
            raise RequestRefused(
                f"a baseline of {code} is being learnt from track {before}, in view; stop it first"
            )
        now_ns = clock.monotonic_ns()
        presence = _Presence(now_ns, now_ns)
        if self._codes.get(before) == code and before in self._last_seen_ns:
            presence = self._presences[code]  # moved within the view
        elif code in self._presences:
            self._note_return(track, code, now_ns)
        self._place(track, code, presence)

    def assign_seat(self, seat: str, code: str) -> None:
        """Assign ``code`` to ``seat``: from the next frame on, whoever sits there has it.

        Raises:
            RequestRefused: there is no such seat, there are too many codes, or a baseline of
                ``code`` is being learnt on another seat.
        """
        self._require_room(code)
        before = self.seats.seat_of(code)
        if code in self._windows and before != seat:
            raise RequestRefused(f"a baseline of {code} is being learnt; stop it first")
        self.seats.assign(seat, code)
        self.changes += 1

    def end_session(self) -> dict[str, str]:
        """End the codes that an operator gave to seats; return them by seat."""
        ended = {seat: code for seat, code in self.seats.assigned.items() if code is not None}
        self.seats.end_session()
        self.changes += 1
        return ended

    def clear_view(self) -> None:
        """Note that nobody is in view: no frame will come for a while, or only with new tracks."""
        self._last_seen_ns = {}

    def end_tracks(self) -> None:
        """Note that all tracks have ended: the next worker numbers its tracks anew."""
        self.clear_view()
        for track in list(self._open_ns):
            self._end(track)

    def take_events(self) -> list[Detail]:
        """Return what happened to the tracks of participants since the last call, in order."""
        events, self._events = self._events, []
        return events

    def with_code(self, detail: Detail) -> Detail:
        """Return an event of a face's eyes with the code of the face; any other one unchanged.

        The end of a closure has the code of its beginning: in the frame in which a track ends,
        another one may have its code already.
        """
        if not isinstance(detail, LidEvent):
            return detail
        code = self._codes.get(detail.track)
        if isinstance(detail, EyesClosed) and code is not None:
            self._closures[detail.track] = code
        elif isinstance(detail, EyesOpened | EyesLost):
            code = self._closures.pop(detail.track, code)
        return detail if code is None else detail.model_copy(update={"participant": code})

    def release(self, code: str) -> None:
        """Forget ``code``: its track, its baseline, and the one being learnt.

        Raises:
            RequestRefused: there is no such participant.
        """
        if code not in self._known():
            raise RequestRefused(f"no participant {code}; known: {_join(self._known())}")
        self.forget(code)

    def forget(self, code: str) -> None:
        """Forget ``code`` as ``release`` does, whether it is known or not."""
        self._unassign(code)
        self.seats.release(code)
        self._kept.discard(code)
        self._presences.pop(code, None)
        self._windows.pop(code, None)
        self._baselines.pop(code, None)
        self.changes += 1

    def start_baseline(self, code: str) -> None:
        """Begin to learn the neutral baseline of ``code``; an earlier one is dropped.

        Raises:
            RequestRefused: nobody in view has this code.
        """
        in_view = [self._codes[track] for track in self._last_seen_ns if track in self._codes]
        if code not in in_view:
            raise RequestRefused(
                f"no participant {code} in view; in view: {_join(in_view)}; assign the code to a"
                f" {'seat' if self.seats.names else 'track'} first: affect-edge participant assign"
                f" {'SEAT' if self.seats.names else 'TRACK'} CODE"
            )
        self._windows[code] = BaselineWindow()
        self._baselines.pop(code, None)
        self.changes += 1

    def stop_baseline(self, code: str) -> Baseline:
        """End learning and return the baseline, which is used from now on unless it has a reason.

        Raises:
            RequestRefused: no baseline of ``code`` is being learnt.
        """
        window = self._windows.pop(code, None)
        if window is None:
            raise RequestRefused(f"no baseline of {code} is being learnt; start one first")
        self._baselines[code] = baseline = window.assess(self._config)
        self.changes += 1
        return baseline

    def lose_baseline(self, code: str, reason: str) -> Baseline:
        """Note that learning the baseline of ``code`` ended without one; return it as invalid."""
        self._windows.pop(code, None)
        self._baselines[code] = lost = Baseline(0.0, 0, Point(valence=0.0, arousal=0.0), reason)
        self.changes += 1
        return lost

    def as_list(self) -> list[dict[str, Any]]:
        """Return every participant: track and seat (null: on none), whether in view, baseline.

        ``since_ns``: monotonic time from which on the participant has been in view, or, if not in
        view, of the last frame with the participant (null: none yet).
        """
        tracks = {code: track for track, code in self._codes.items()}
        participants = []
        for code in sorted(self._known()):
            in_view = tracks.get(code) in self._last_seen_ns
            presence = self._presences.get(code)
            since_ns = presence and (presence.begin_ns if in_view else presence.last_ns)
            participants.append(
                {
                    "participant": code,
                    "track": tracks.get(code),
                    "seat": self.seats.seat_of(code),
                    "in_view": in_view,
                    "since_ns": since_ns,
                    "baseline": self._state(code),
                }
            )
        return participants

    def keep(self) -> list[KeptParticipant]:
        """Return what a restart should not lose, for ``restore``."""
        offset_ns = clock.wall_minus_monotonic_ns()
        return [
            KeptParticipant(
                participant=code,
                last_unix_ns=at.last_ns + offset_ns if (at := self._presences.get(code)) else None,
                is_learning=code in self._windows,
                baseline=KeptBaseline.of(self._baselines.get(code)),
            )
            for code in sorted(self._known())
        ]

    def restore(self, kept: Sequence[KeptParticipant]) -> None:
        """Continue with codes and baselines from before a restart; none is on a track."""
        offset_ns = clock.wall_minus_monotonic_ns()
        for each in kept[:PARTICIPANTS_MAX]:
            code = each.participant
            self._kept.add(code)
            if each.last_unix_ns is not None:
                last_ns = each.last_unix_ns - offset_ns
                self._presences[code] = _Presence(last_ns, last_ns)
            if each.baseline is not None:
                self._baselines[code] = each.baseline.value()

    def update(
        self, faces: Sequence[Face], sensor_ns: int, *, now_ns: int | None = None
    ) -> list[Face]:
        """Process the faces of a frame; return them with codes, baselines and relative values.

        Args:
            faces: those of one frame, in its order.
            sensor_ns: when it was taken.
            now_ns: the time by which presences are measured; None: that of the monotonic clock.
        """
        before = {
            track: at for track, at in self._last_seen_ns.items() if self._is_alive(at, sensor_ns)
        }
        in_frame = {face.track for face in faces}
        self._last_seen_ns = before | dict.fromkeys(in_frame, sensor_ns)
        if self._open_ns:
            for track, at in list(self._open_ns.items()):
                if track not in in_frame and not self._is_alive(at, sensor_ns):
                    self._end(track)
        now_ns = clock.monotonic_ns() if now_ns is None else now_ns
        if self.seats.names:
            self._place_by_seat(faces, now_ns)
        return [
            self._with_participant(face, sensor_ns, now_ns, was_in_view=face.track in before)
            for face in faces
        ]

    def _is_alive(self, last_ns: int, sensor_ns: int) -> bool:
        # a time in the future is of a clock that has since started again
        return 0 <= sensor_ns - last_ns <= self._vanish_ns

    def _end(self, track: int) -> None:
        del self._open_ns[track]
        code = self._codes[track]
        seat = self._seat_by_track.get(track)
        self._events.append(ParticipantTrackEnded(track=track, participant=code, seat=seat))
        self.visits += 1

    def _note_return(self, track: int, code: str, now_ns: int) -> None:
        presence, seat = self._presences.get(code), self.seats.seat_of(code)
        away_s = round(max(0, now_ns - presence.last_ns) / 1e9, 3) if presence else None
        self._events.append(
            ParticipantTrackReturned(track=track, participant=code, seat=seat, away_s=away_s)
        )

    def _place(self, track: int, code: str, presence: _Presence) -> None:
        self.visits += 1
        self.changes += code not in self._presences
        self._unassign(code)
        self._kept.discard(code)
        self._codes[track] = code
        known = self._known()  # without the code that had the track
        self._presences = {each: at for each, at in self._presences.items() if each in known}
        self._presences[code] = presence
        self._open_ns[track] = self._last_seen_ns[track]

    def _place_by_seat(self, faces: Sequence[Face], now_ns: int) -> None:
        """Give the code of each seat to one face on it: to that which has it, else the largest."""
        codes = self.seats.codes()
        for face in faces:
            before = self._codes.get(face.track)
            if before is not None and before != codes.get(face.seat or ""):
                if face.track in self._open_ns:
                    self._end(face.track)
                self._unassign(before)
        for seat, code in codes.items():
            sitting = [face for face in faces if face.seat == seat]
            present = next((each for each, other in self._codes.items() if other == code), None)
            if not sitting or present in self._last_seen_ns:
                continue  # nobody is there, or the participant is, even if not found in this frame
            face = max(sitting, key=lambda each: each.box[2] * each.box[3])
            self._note_return(face.track, code, now_ns)
            self._place(face.track, code, _Presence(now_ns, now_ns))
            self._seat_by_track[face.track] = seat

    def _with_participant(
        self, face: Face, sensor_ns: int, now_ns: int, *, was_in_view: bool
    ) -> Face:
        code = self._codes.get(face.track)
        if code is None:
            return face
        if face.track not in self._open_ns:  # lost for longer than the tracker allows, yet followed
            self._note_return(face.track, code, now_ns)
        self._open_ns[face.track] = sensor_ns
        begin_ns = self._presences[code].begin_ns if was_in_view else now_ns
        self._presences[code] = _Presence(begin_ns, now_ns)
        affect = face.affect
        if affect is not None:
            window = self._windows.get(code)
            # a reading that is kept would count several times
            if window is not None and face.expression is not None and not face.expression.age_s:
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
        seats = self.seats.codes().values()
        return {*self._codes.values(), *self._windows, *self._baselines, *self._kept, *seats}

    def _require_room(self, code: str) -> None:
        known = self._known()
        if code not in known and len(known) >= PARTICIPANTS_MAX:
            raise RequestRefused(f"{PARTICIPANTS_MAX} participants are known already; release some")

    def _unassign(self, code: str) -> None:
        for track in [track for track, other in self._codes.items() if other == code]:
            del self._codes[track]
            self._open_ns.pop(track, None)
            self._seat_by_track.pop(track, None)


def _join(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items), key=lambda each: (len(each), each))) or "none"
