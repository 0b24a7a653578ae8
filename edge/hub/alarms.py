"""Raises an alarm when something has been wrong for long, and clears it when that has ended.

A cause must last for ``RULE_s`` without a break before its alarm is raised, and be gone for
``clear_s`` without a break before it is cleared: what comes and goes neither raises nor clears. All
of it is evaluated once a second on monotonic time; a frame only updates a dictionary.

Raised alarms are kept over restarts of the daemon, with the participants: an alarm whose cause goes
on is not raised again, and one whose cause has gone meanwhile is cleared by the next daemon.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge import clock
from edge.config import AlarmsConfig
from edge.hub.alarm_causes import Cause, Facts, device_causes, unknown_rules
from edge.hub.kept_models import KeptAlarm
from edge.participants.participants import Participants
from edge.protocol.alarm_events import AlarmCleared, AlarmRaised
from edge.protocol.detail import Detail
from edge.protocol.messages import ActiveAlarm, Face
from edge.vocabulary import ALARM_RULES, AlarmRule

log = logging.getLogger("affect_edge")

ALARMS_MAX: Final = 128
"""Causes followed at a time; further ones are not raised."""

SUBJECTS_MAX: Final = 512
"""Faces followed at a time; further ones are not watched."""

PRESENT_S: Final = 5.0
"""A face that is lost for shorter counts as there: detection in poor light comes and goes."""

BEFORE_START_S: Final = 600.0
"""Whoever was in view so long before a restart is expected after it."""

_TRACK: Final = "track "


@dataclass(slots=True)
class _Seen:
    """A face, in monotonic times.

    Attributes:
        last_ns: of its newest frame.
        participant: its code, if it has one.
        read_ns: of the newest frame with an expression; None: there was none.
        reasons: why the newest frame without one has none.
        eyes_ns: of the newest frame in which its eyes were measured; None: there was none.
        closed_ns: since when they are closed; None: they were open then.
    """

    last_ns: int
    participant: str | None
    read_ns: int | None = None
    reasons: Sequence[str] = ()
    eyes_ns: int | None = None
    closed_ns: int | None = None


@dataclass(slots=True)
class _Followed:
    """A cause that lasts, or an alarm that was raised.

    Attributes:
        cause: as last found.
        begin_ns: when it was first found.
        since_ns: since when it lasts.
        is_raised: whether the alarm was raised.
        gone_ns: when the cause was first gone; None while it lasts or is unknown.
    """

    cause: Cause
    begin_ns: int
    since_ns: int
    is_raised: bool = False
    gone_ns: int | None = None


class Alarms:
    """The alarms of one device. Only for the hub's main loop.

    Args:
        config: for how long each cause lasts before its alarm.
        participants: whose faces are expected.

    Attributes:
        changes: counts what a restart should not lose.
    """

    def __init__(self, config: AlarmsConfig, participants: Participants) -> None:
        self._config = config
        self._participants = participants
        self._followed: dict[tuple[AlarmRule, str], _Followed] = {}
        self._seen: dict[str, _Seen] = {}
        self._frame_ns: int | None = None  # of the newest frame
        self._events: list[Detail] = []
        self._session: str | None = None
        self._expects = True  # whether participants are expected; not after the end of a session
        self._expected_from_ns: int | None = None
        self.changes = 0

    def note_faces(self, faces: Sequence[Face], now_ns: int) -> None:
        """Note the faces of a frame, with their codes; ``now_ns``: monotonic time."""
        self._frame_ns = now_ns
        for face in faces:
            subject = face.participant or (
                f"seat {face.seat}" if face.seat else f"{_TRACK}{face.track}"
            )
            seen = self._seen.get(subject)
            if seen is None:
                if len(self._seen) >= SUBJECTS_MAX:
                    continue
                seen = self._seen[subject] = _Seen(now_ns, face.participant)
            seen.last_ns = now_ns
            if face.expression is not None:
                seen.read_ns = now_ns
            else:
                seen.reasons = face.quality.reasons
            if face.mesh is not None:
                closed_s = face.mesh.lids.closed_s
                seen.eyes_ns = now_ns
                seen.closed_ns = None if closed_s is None else now_ns - round(closed_s * 1e9)

    def update(self, facts: Facts) -> None:
        """Raise and clear alarms; call it once a second."""
        now_ns = facts.now_ns
        self._note_session(facts)
        unknown = unknown_rules(facts)
        found = [
            *device_causes(facts, is_hot=("board", "") in self._raised()),
            *self._eyes_closed(now_ns),
            *self._not_read(now_ns),
            *self._gone(facts),
        ]
        lasting = {
            (cause.rule, cause.subject): cause
            for cause in found
            if self._config.after_s(cause.rule) and cause.rule not in unknown
        }
        for key, cause in lasting.items():
            self._follow(key, cause, now_ns)
        for key, followed in list(self._followed.items()):
            if key in lasting:
                continue
            if not followed.is_raised:
                del self._followed[key]
            elif followed.cause.rule in unknown:
                followed.gone_ns = None
            else:
                followed.gone_ns = followed.gone_ns or now_ns
                if now_ns - followed.gone_ns >= self._config.clear_s * 1e9:
                    self._clear(key, now_ns)
        before_ns = now_ns - 2 * PRESENT_S * 1e9
        if facts.is_watching:
            newest_ns = self._frame_ns
            self._seen = {
                subject: seen
                for subject, seen in self._seen.items()
                if seen.last_ns >= before_ns or seen.last_ns == newest_ns
            }

    def take_events(self) -> list[Detail]:
        """Return what was raised and cleared since the last call, in order."""
        events, self._events = self._events, []
        return events

    def active(self, now_ns: int) -> list[ActiveAlarm]:
        """Return the raised alarms, the longest first."""
        raised = sorted(self._raised().values(), key=lambda each: each.since_ns)
        return [
            ActiveAlarm(
                rule=each.cause.rule,
                subject=each.cause.subject,
                since_s=max(0, now_ns - each.since_ns) / 1e9,
                text=each.cause.text,
            )
            for each in raised
        ]

    def counts(self) -> dict[str, int]:
        """Return the number of raised alarms of each rule that is on."""
        rules = [rule for rule, _ in self._raised()]
        return {rule: rules.count(rule) for rule in ALARM_RULES if self._config.after_s(rule)}

    def forget(self, code: str) -> None:
        """Forget a participant without an event, which would have the code."""
        self._seen.pop(code, None)
        kept = {key: each for key, each in self._followed.items() if each.cause.participant != code}
        self.changes += len(kept) != len(self._followed)
        self._followed = kept

    def keep(self) -> list[KeptAlarm]:
        """Return the raised alarms, for ``restore``."""
        offset_ns = clock.wall_minus_monotonic_ns()
        return [
            KeptAlarm(
                rule=rule,
                subject=subject,
                participant=each.cause.participant,
                text=each.cause.text,
                since_unix_ns=each.since_ns + offset_ns,
            )
            for (rule, subject), each in self._raised().items()
        ]

    def restore(self, kept: Sequence[KeptAlarm]) -> None:
        """Continue with alarms from before a restart.

        Those of tracks, which ended with the daemon, and of rules that are now off, are cleared.
        """
        now_ns = clock.monotonic_ns()
        offset_ns = clock.wall_minus_monotonic_ns()
        for each in kept[:ALARMS_MAX]:
            since_ns = min(now_ns, each.since_unix_ns - offset_ns)
            cause = Cause(each.rule, each.text, each.subject, each.participant, since_ns)
            key = (each.rule, each.subject)
            self._followed[key] = _Followed(cause, since_ns, since_ns, is_raised=True)
            if each.subject.startswith(_TRACK) or not self._config.after_s(each.rule):
                self._clear(key, now_ns)

    # -- causes of people --------------------------------------------------------------------------

    def _note_session(self, facts: Facts) -> None:
        """Follow from when on participants are expected."""
        if self._expected_from_ns is None:
            self._expected_from_ns = facts.now_ns - int(BEFORE_START_S * 1e9)
        elif facts.session != self._session:
            self._expects = facts.session is not None
            self._expected_from_ns = facts.now_ns
        self._session = facts.session

    def _not_read(self, now_ns: int) -> Iterator[Cause]:
        """Yield the faces that are there and had no expression since the last second."""
        if self._frame_ns is None:
            return
        # of a slow source the newest frame counts, however old it is
        present_ns = min(now_ns - int(PRESENT_S * 1e9), self._frame_ns)
        read_ns = min(now_ns - 1_000_000_000, self._frame_ns)
        for subject, seen in self._seen.items():
            is_read = seen.read_ns is not None and seen.read_ns >= read_ns
            if seen.last_ns >= present_ns and not is_read:
                reasons = ", ".join(each.replace("_", " ") for each in seen.reasons)
                text = f"the face cannot be read: {reasons or 'no reason given'}"
                yield Cause("not_read", text, subject, seen.participant, seen.read_ns)

    def _eyes_closed(self, now_ns: int) -> Iterator[Cause]:
        """Yield whose eyes have been closed for a second or more: since the last call, too.

        An alarm stays while nobody knows, because the eyes are not measured any more: that of a
        participant, and that of a seat or track while a face is there.
        """
        listed = self._participants.as_list() if self._expects else []
        measured_ns = now_ns - int(PRESENT_S * 1e9)
        known = {each["participant"] for each in listed}
        known |= {subject for subject, seen in self._seen.items() if seen.last_ns >= measured_ns}
        for subject, seen in self._seen.items():
            if seen.eyes_ns is None or seen.eyes_ns < measured_ns:
                continue
            known.discard(subject)
            if seen.closed_ns is not None and seen.closed_ns <= now_ns - 1_000_000_000:
                text = "the eyes are closed, and have not been seen open meanwhile"
                yield Cause("eyes_closed", text, subject, seen.participant, seen.closed_ns)
        for (rule, subject), followed in self._raised().items():
            if rule == "eyes_closed" and subject in known:
                yield followed.cause

    def _gone(self, facts: Facts) -> Iterator[Cause]:
        """Yield the participants that are expected and not in view."""
        expected_from_ns = self._expected_from_ns
        if not self._expects or expected_from_ns is None:
            return
        for each in self._participants.as_list():
            code, since_ns = each["participant"], each["since_ns"]
            if each["in_view"]:
                continue
            is_expected = (
                (since_ns is not None and since_ns >= expected_from_ns)
                or (each["seat"] is not None and facts.session is not None)
                or ("participant_gone", code) in self._raised()
            )
            if is_expected:
                text = "no face has this participant's code"
                yield Cause("participant_gone", text, code, code, since_ns)

    # -- alarms ------------------------------------------------------------------------------------

    def _raised(self) -> dict[tuple[AlarmRule, str], _Followed]:
        return {key: each for key, each in self._followed.items() if each.is_raised}

    def _follow(self, key: tuple[AlarmRule, str], cause: Cause, now_ns: int) -> None:
        followed = self._followed.get(key)
        if followed is None:
            if len(self._followed) >= ALARMS_MAX:
                return
            since_ns = now_ns if cause.since_ns is None else cause.since_ns
            followed = self._followed[key] = _Followed(cause, now_ns, since_ns)
        followed.cause, followed.gone_ns = cause, None
        after_ns = self._config.after_s(cause.rule) * 1e9
        if not followed.is_raised and now_ns - followed.begin_ns >= after_ns:
            followed.is_raised = True
            self.changes += 1
            self._events.append(
                AlarmRaised(
                    rule=cause.rule,
                    subject=cause.subject,
                    participant=cause.participant,
                    text=cause.text,
                    since_unix_ns=followed.since_ns + clock.wall_minus_monotonic_ns(),
                )
            )
            log.warning("alarm %s: %s", _name(cause), cause.text)

    def _clear(self, key: tuple[AlarmRule, str], now_ns: int) -> None:
        followed = self._followed.pop(key)
        cause = followed.cause
        self.changes += 1
        self._events.append(
            AlarmCleared(
                rule=cause.rule,
                subject=cause.subject,
                participant=cause.participant,
                text=cause.text,
                since_unix_ns=followed.since_ns + clock.wall_minus_monotonic_ns(),
                lasted_s=round(max(0, now_ns - followed.since_ns) / 1e9, 1),
            )
        )
        log.info("alarm %s cleared", _name(cause))


def _name(cause: Cause) -> str:
    """Return the rule, without a participant's code, which is in no log of the service."""
    is_person = cause.participant is not None
    subject = "a participant" if is_person else cause.subject
    return f"{cause.rule} of {subject}" if subject else cause.rule
