"""One record as columns in memory: faces by frame, time in seconds, participants, events.

A record is a log of any format or a folder that ``analyse`` made. It may have several *runs*
(starts of the daemon): they lie on one time axis, later ones where their wall time puts them.
Second 0 is that of the record's own axis (``time_s`` of the tables), or the start of a session if
one was chosen.

Each frame stands for the time until the next one. Where that is long (a *gap*), it stands for the
usual spacing only, and the rest of the gap is no time of the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.client.logs.sessions import Session

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose face it is: a participant, or, without a code, one track of one run.

    Attributes:
        participant: the code; None: no code was assigned.
        track: number of the track; None for a participant.
        run: number of the run, from 0; 0 for a participant.
    """

    participant: str | None
    track: int | None
    run: int = 0

    @property
    def name(self) -> str:
        """For people: ``P07``, ``track 4``, or ``track 4, start 2``."""
        if self.participant is not None:
            return self.participant
        return f"track {self.track}" + (f", start {self.run + 1}" if self.run else "")


@dataclass(frozen=True, slots=True)
class TableEvent:
    """An event on the axis of the table; see ``RecordedEvent``."""

    time_s: float
    unix_ns: int
    event: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A record in columns. Arrays of F frames, and of N faces in these frames, in order.

    Attributes:
        path: of the record.
        device: that recorded it.
        session: the session that was chosen; None: the whole record.
        is_file: whether the source was a file, not a camera.
        frame_time_s: (F,) seconds on the axis, never decreasing.
        frame_s: (F,) seconds for which the frame stands.
        frame_unix_ns: (F,) wall time.
        spacing_s: the usual spacing of frames; 0.0 if there is only one.
        synchronized: share of the frames whose wall time was synchronized, 0..1.
        dropped: frames that were lost, as the frames themselves say.
        picture_sizes: each width and height that a frame has, pixels; several of a folder of
            pictures, or of runs with other cameras.
        frame: (N,) index of the face's frame.
        subject: (N,) index in ``subjects``.
        reasons: (N,) index in ``reason_texts``.
        label: (N,) index in ``EXPRESSIONS`` of the stable label; -1: not classified.
        valence: (N,) as predicted; NaN: not classified.
        arousal: the same.
        valence_relative: (N,) relative to the neutral baseline; NaN: not classified, or none.
        arousal_relative: the same.
        is_measured: (N,) whether the face mesh was measured in this frame.
        perclos: (N,) share of the last minute with closed eyes, 0..1; NaN: not known.
        blinks_per_min: (N,) of the last minute; NaN: not known.
        affect_sources: where valence and arousal come from: ``anchors``, ``network`` or
            ``recalibration``; several where networks changed, empty where it is not known.
        unknown: expressions that no network of the record knows; empty without a classified face.
        subjects: participants by code, then tracks by run and number.
        reason_texts: such as ``too_small|blurred``, or empty.
        events: in order, those of the session if one was chosen.
        context: events that say how the runs were recorded, also from before the session.
    """

    path: Path
    device: str
    session: Session | None
    is_file: bool
    frame_time_s: Floats
    frame_s: Floats
    frame_unix_ns: Integers
    spacing_s: float
    synchronized: float
    dropped: int
    picture_sizes: tuple[tuple[int, int], ...]
    frame: Integers
    subject: Integers
    reasons: Integers
    label: npt.NDArray[np.int8]
    valence: Floats
    arousal: Floats
    valence_relative: Floats
    arousal_relative: Floats
    is_measured: npt.NDArray[np.bool_]
    perclos: npt.NDArray[np.float32]
    blinks_per_min: npt.NDArray[np.float32]
    affect_sources: tuple[str, ...]
    unknown: tuple[str, ...]
    subjects: tuple[Subject, ...]
    reason_texts: tuple[str, ...]
    events: tuple[TableEvent, ...]
    context: tuple[TableEvent, ...] = ()

    @property
    def start_s(self) -> float:
        """Where the time axis begins: 0, or the first frame if that is earlier."""
        return min(0.0, float(self.frame_time_s[0])) if len(self.frame_time_s) else 0.0

    @property
    def end_s(self) -> float:
        """End of the last frame; 0.0 without frames."""
        if not len(self.frame_time_s):
            return 0.0
        return float((self.frame_time_s + self.frame_s)[-1])

    @property
    def recorded_s(self) -> float:
        """Seconds of the record, gaps left out."""
        return float(self.frame_s.sum())

    @property
    def empty_s(self) -> float:
        """Seconds of the record without any face."""
        is_empty = np.ones(len(self.frame_s), bool)
        is_empty[self.frame] = False
        return float(self.frame_s[is_empty].sum())

    @property
    def files(self) -> list[str]:
        """The names of the video files of the record, in order; none of a camera."""
        opened = (each.detail for each in self.context if each.event == "file_opened")
        return [str(detail["file"]) for detail in opened if detail.get("file") is not None]

    @cached_property
    def longest_s(self) -> float:
        """The longest time for which a frame stands."""
        return float(self.frame_s.max(initial=0.0))

    @cached_property
    def rows_of(self) -> tuple[Integers, ...]:
        """Of each subject its faces, in order."""
        order = np.argsort(self.subject, kind="stable")
        ends = np.searchsorted(self.subject[order], np.arange(len(self.subjects) + 1))
        return tuple(order[a:b] for a, b in pairwise(ends.tolist()))

    @cached_property
    def gaps(self) -> list[tuple[float, float]]:
        """Where nothing was recorded: start and end, seconds."""
        if not len(self.frame_time_s):
            return []
        ends = self.frame_time_s + self.frame_s
        starts = np.append(self.frame_time_s[1:], self.end_s)
        found = np.flatnonzero(starts - ends > 1e-6)
        return [(float(ends[at]), float(starts[at])) for at in found]

    def only(self, participant: str) -> "Table":
        """Return the table with the faces of one participant alone.

        Raises:
            ValueError: it has no such participant.
        """
        at = [subject.participant for subject in self.subjects].index(participant)
        rows = self.rows_of[at]
        faces = ("frame", "subject", "reasons", "label", "valence", "arousal", "valence_relative",
                 "arousal_relative", "is_measured", "perclos", "blinks_per_min")  # fmt: skip
        columns = {name: getattr(self, name)[rows] for name in faces}
        columns["subject"] = np.zeros_like(columns["subject"])
        return replace(self, subjects=(self.subjects[at],), **columns)

    def weights(self, rows: Integers) -> Floats:
        """Return the seconds for which faces of one subject stand.

        A participant whose code two tracks have in one frame counts once.

        Args:
            rows: of the subject, in order.
        """
        frames = self.frame[rows]
        if len(frames) and np.any(frames[1:] == frames[:-1]):
            _, inverse, counts = np.unique(frames, return_inverse=True, return_counts=True)
            return self.frame_s[frames] / counts[inverse]
        return self.frame_s[frames]

    def wall_time_known(self) -> bool:
        """Return whether ``frame_unix_ns`` is when the pictures were taken.

        Of a file it is so if its container or the option ``recorded_at`` says when it was recorded.
        """
        if not self.is_file:
            return True
        for each in self.context:
            if each.event == "file_opened" and each.detail.get("recorded_unix_ns") is not None:
                return True
            source = each.detail.get("config", {}).get("source", {})
            if each.event == "epoch_started" and source.get("recorded_at") is not None:
                return True
        return False
