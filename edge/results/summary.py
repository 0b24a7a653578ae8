"""The summary of a record: one row for each participant (or track) and interval.

All shares, means and spreads weigh each frame by the time for which it stands, so that a changing
frame rate changes nothing. A frame at the border of two intervals counts in both, each with its
part: intervals add up to the whole.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.client.tidy import Cell, csv_lines
from edge.results.files import opened_result
from edge.results.marks import Interval, Marks, intervals_of, recorded_marks
from edge.results.table import Floats, Integers, Subject, Table
from edge.vocabulary import EXPRESSIONS

REASONS: Final = (
    "too_small", "blurred", "too_dark", "too_bright", "saturated", "turned_away", "outside_frame",
    "inference_failed",
)  # fmt: skip
"""Why a face was not classified, one column each; any other reason counts in ``other_reason_s``."""

_FORMULA: Final = "=+-@\t\r"
"""Spreadsheets run cells that begin with these."""

_VALUES: Final = ("valence", "arousal", "valence_relative", "arousal_relative")

COLUMNS: Final = (
    "participant",  # code; empty: none was assigned
    "track",  # of a face without a code; else -1
    "start",  # which start of the daemon the track belongs to, from 1; else -1
    "interval",  # number, from 1
    "from_s",
    "to_s",
    "mark",  # newest one at or before from_s
    "recorded_s",  # of the interval, gaps left out
    "frames",  # with this face, that begin in the interval
    "in_view_s",
    "classified_s",
    "classified_share",  # of in_view_s
    *(f"{reason}_s" for reason in REASONS),  # a face may have several reasons
    "other_reason_s",
    *(f"{value}_{kind}" for value in _VALUES[:2] for kind in ("mean", "sd")),
    "relative_s",  # classified, with a neutral baseline
    *(f"{value}_{kind}" for value in _VALUES[2:] for kind in ("mean", "sd")),
    *(f"{name}_s" for name in EXPRESSIONS),  # by stable label
    *(f"{name}_share" for name in EXPRESSIONS),  # of classified_s
    "mesh_share",  # of in_view_s: pictures in which the face mesh was measured
    "perclos_mean",  # over these pictures, where known; each value is of the minute before it
    "perclos_max",
    "blinks_per_min_mean",
)


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted mean and standard deviation; None where there are no values."""

    mean: float | None = None
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class Eyes:
    """What the face mesh says of one subject's eyes in one interval.

    Attributes:
        measured_s: seconds for which the frames stand in which it was measured.
        perclos: moments of PERCLOS, 0..1.
        perclos_max: its highest value; None: it was never known.
        blinks_per_min: moments of the blink rate.
    """

    measured_s: float
    perclos: Moments
    perclos_max: float | None
    blinks_per_min: Moments


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One subject in one interval; seconds are those for which its frames stand.

    Attributes:
        subject: whose face.
        interval: the interval.
        recorded_s: of the record.
        frames: with the face, that begin in the interval.
        in_view_s: with the face.
        classified_s: with the face classified.
        reasons_s: not classified, by reason (of ``REASONS``, or ``other_reason``). A face with
            several reasons counts in each.
        values: moments of valence, arousal, and both relative to the baseline.
        relative_s: classified, with a neutral baseline.
        expressions_s: by stable label, in the order of ``EXPRESSIONS``; None: no network of the
            record knows it.
        eyes: what the face mesh measured.
    """

    subject: Subject
    interval: Interval
    recorded_s: float
    frames: int
    in_view_s: float
    classified_s: float
    reasons_s: dict[str, float]
    values: dict[str, Moments]
    relative_s: float
    expressions_s: tuple[float | None, ...]
    eyes: Eyes

    def cells(self) -> list[Cell]:
        """Return the cells in the order of ``COLUMNS``."""
        subject, interval = self.subject, self.interval
        is_track = subject.participant is None
        cells: list[Cell] = [
            _plain(subject.participant),
            -1 if subject.track is None else subject.track,
            subject.run + 1 if is_track else -1,
            interval.number,
            *(_rounded(interval.from_s, 6), _rounded(interval.to_s, 6), _plain(interval.mark)),
            *(_rounded(self.recorded_s, 3), self.frames, _rounded(self.in_view_s, 3)),
            _rounded(self.classified_s, 3),
            _share(self.classified_s, self.in_view_s),
        ]
        cells += [_rounded(self.reasons_s[reason], 3) for reason in (*REASONS, "other_reason")]
        moments = {name: self.values[name] for name in _VALUES}
        for name in _VALUES:
            if name == "valence_relative":
                cells.append(_rounded(self.relative_s, 3))
            cells += [_rounded(moments[name].mean, 4), _rounded(moments[name].sd, 4)]
        cells += [_rounded(seconds, 3) for seconds in self.expressions_s]
        cells += [_share(seconds, self.classified_s) for seconds in self.expressions_s]
        eyes = self.eyes
        cells += [_share(eyes.measured_s, self.in_view_s), _rounded(eyes.perclos.mean, 4)]
        return [*cells, _rounded(eyes.perclos_max, 4), _rounded(eyes.blinks_per_min.mean, 1)]


def write_summary(
    table: Table,
    out: Path,
    *,
    interval_s: float | None = None,
    marks: Marks | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> int:
    """Write ``summary.csv``; return the number of its rows.

    Args:
        table: the record.
        out: the file; it appears when it is complete.
        interval_s: length of the intervals, seconds; None: between marks.
        marks: the marks; None: those of the record.
        on_step: is called after each row.

    Raises:
        ConfigError: there are too many intervals, or nothing can be written there.
        LogFileError: the disk is full or fails.
    """
    chosen = recorded_marks(table) if marks is None else marks
    intervals = intervals_of(table, interval_s, chosen)
    rows = 0
    with opened_result(out) as file:
        file.write(csv_lines([COLUMNS]))
        for row in summarise(table, intervals):
            file.write(csv_lines([row.cells()]))
            rows += 1
            on_step()
    return rows


def summarise(table: Table, intervals: list[Interval]) -> Iterator[SummaryRow]:
    """Return the rows, by subject and interval.

    A participant has a row for each interval of which something was recorded, a track only for
    those in which it was in view.

    Args:
        table: the record.
        intervals: in order; they do not overlap.
    """
    recorded_s = [
        float(_overlap(table.frame_time_s[a:b], table.frame_s[a:b], interval).sum())
        for interval in intervals
        for a, b in [_touching(table.frame_time_s, table, interval)]
    ]
    kinds = [
        frozenset(_column_of(reason) for reason in text.split("|") if reason) or {"other_reason"}
        for text in table.reason_texts
    ]
    starts = [interval.from_s for interval in intervals]
    ends = [interval.to_s for interval in intervals]
    for subject, rows in zip(table.subjects, table.rows_of, strict=True):
        times = table.frame_time_s[table.frame[rows]]
        weights = table.weights(rows)
        first, last = 0, len(intervals)
        if subject.participant is None and len(rows):  # of thousands, each is in few intervals
            first = bisect_left(ends, times[0])
            last = bisect_right(starts, times[-1] + table.longest_s) + 1
        for interval, recorded in zip(intervals[first:last], recorded_s[first:last], strict=True):
            a, b = _touching(times, table, interval)
            if a == b and (subject.participant is None or recorded == 0):
                continue
            yield _row(
                table,
                subject,
                interval,
                recorded_s=recorded,
                rows=rows[a:b],
                weights=weights[a:b],
                kinds=kinds,
            )


def whole(table: Table) -> list[SummaryRow]:
    """Return one row for each subject: the whole table as one interval."""
    return list(summarise(table, intervals_of(table, None, ())))


def _row(
    table: Table,
    subject: Subject,
    interval: Interval,
    *,
    recorded_s: float,
    rows: Integers,
    weights: Floats,
    kinds: list[frozenset[str] | set[str]],
) -> SummaryRow:
    frames = table.frame[rows]
    times, lasts = table.frame_time_s[frames], table.frame_s[frames]
    inside = _overlap(times, lasts, interval)
    with np.errstate(invalid="ignore"):
        seconds = np.where(lasts > 0, weights * inside / lasts, 0.0)
    label = table.label[rows]
    is_classified = label >= 0
    reasons_s = dict.fromkeys((*REASONS, "other_reason"), 0.0)
    by_reason = np.bincount(
        table.reasons[rows][~is_classified], seconds[~is_classified], len(kinds)
    )
    for code in np.flatnonzero(by_reason):
        for kind in sorted(kinds[code]):
            reasons_s[kind] += float(by_reason[code])
    by_label = np.bincount(label[is_classified], seconds[is_classified], len(EXPRESSIONS))
    relative = np.isfinite(table.valence_relative[rows])
    begins = (times >= interval.from_s) & (times < interval.to_s)
    if _includes_end(table, interval):
        begins = (times >= interval.from_s) & (times <= interval.to_s)
    return SummaryRow(
        subject,
        interval,
        recorded_s,
        len(np.unique(frames[begins])),
        float(seconds.sum()),
        float(seconds[is_classified].sum()),
        reasons_s,
        {name: _moments(getattr(table, name)[rows], seconds, begins) for name in _VALUES},
        float(seconds[relative].sum()),
        tuple(
            None if name in table.unknown else seconds
            for name, seconds in zip(EXPRESSIONS, by_label.tolist(), strict=True)
        ),
        _eyes(table, rows, seconds, begins),
    )


def _eyes(table: Table, rows: Integers, seconds: Floats, begins: npt.NDArray[np.bool_]) -> Eyes:
    perclos = table.perclos[rows]
    inside = perclos[np.isfinite(perclos) & ((seconds > 0) | begins)]
    return Eyes(
        float(seconds[table.is_measured[rows]].sum()),
        _moments(perclos, seconds, begins),
        float(inside.max()) if len(inside) else None,
        _moments(table.blinks_per_min[rows], seconds, begins),
    )


def _touching(times: Floats, table: Table, interval: Interval) -> tuple[int, int]:
    """Return the range of ordered frames that may stand for a part of the interval."""
    a = int(np.searchsorted(times, interval.from_s - table.longest_s, "left"))
    b = int(np.searchsorted(times, interval.to_s, "left"))
    if _includes_end(table, interval):
        b = int(np.searchsorted(times, interval.to_s, "right"))
    return a, max(a, b)


def _includes_end(table: Table, interval: Interval) -> bool:
    """Return whether a frame at the very end of the interval lies in it.

    It does at the end of a record whose last frame has no length, as a single picture has none:
    else it would lie in no interval.
    """
    has_length = len(table.frame_s) > 0 and table.frame_s[-1] > 0
    return interval.to_s <= interval.from_s or (interval.to_s >= table.end_s and not has_length)


def _overlap(times: Floats, lasts: Floats, interval: Interval) -> Floats:
    """Return for how many seconds of the interval each frame stands."""
    ends = np.minimum(times + lasts, interval.to_s)
    found: Floats = np.maximum(ends - np.maximum(times, interval.from_s), 0.0)
    return found


def _moments(
    values: Floats | npt.NDArray[np.float32], seconds: Floats, begins: npt.NDArray[np.bool_]
) -> Moments:
    is_known = np.isfinite(values)
    weights = seconds * is_known
    total = float(weights.sum())
    if total <= 0:  # a single picture stands for no time
        weights = (is_known & begins).astype(np.float64)
        total = float(weights.sum())
    if total <= 0:
        return Moments()
    known = np.where(is_known, values, 0.0)
    mean = float((known * weights).sum() / total)
    return Moments(mean, float(np.sqrt(((known - mean) ** 2 * weights).sum() / total)))


def _column_of(reason: str) -> str:
    return reason if reason in REASONS else "other_reason"


def _share(part: float | None, whole_s: float) -> float | None:
    return _rounded(part / whole_s, 4) if part is not None and whole_s > 0 else None


def _plain(text: str | None) -> str | None:
    """Return a text that a spreadsheet does not take for a formula; None: there is none."""
    return f"'{text}" if text and text[0] in _FORMULA else text or None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) + 0.0  # + 0.0: no -0.0
