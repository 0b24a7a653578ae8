"""Marks: moments with a text, from a ``marks.csv`` or from the record, and intervals of time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from pathlib import Path
from typing import Final

from edge.errors import ConfigError
from edge.results.table import Table
from edge.results.user_csv import read_user_csv

INTERVALS_MAX: Final = 100_000

_SAME_S: Final = 1e-6
"""Times that are closer are the same."""

_COLUMNS: Final = (
    "expected the columns time_s (seconds from the start) and mark (a text), and file if wanted"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: seconds on the table's axis, and its text.

    Attributes:
        time_s: the moment.
        text: what is said of it.
        file: name of the recording that it is of; empty: of any.
    """

    time_s: float
    text: str
    file: str = ""


Marks = tuple[Mark, ...]
"""Marks in the order of their times."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time: from its start, up to its end.

    Attributes:
        number: from 1.
        from_s: start, seconds on the table's axis.
        to_s: end.
        mark: text of the newest mark at or before the start, of several at that time with `` | ``
            between them; empty: there was none.
    """

    number: int
    from_s: float
    to_s: float
    mark: str


def read_marks(path: Path) -> Marks:
    """Read ``marks.csv``: the columns ``time_s`` and ``mark``, in any order of rows.

    A column ``file`` says which recording a mark is of (``marks_of``).

    Raises:
        ConfigError: it cannot be read, lacks a column, or a time is no number; one line.
    """
    table = read_user_csv(path, "--marks")
    missing = {"time_s", "mark"} - set(table.columns)
    if missing:
        raise ConfigError(f"--marks {path}: has the columns {', '.join(table.columns)}; {_COLUMNS}")
    time, text = (table.column(name, "--marks") for name in ("time_s", "mark"))
    file = table.column("file", "--marks") if "file" in table.columns else None
    marks = []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            time_s = table.number(row[time])
        except ValueError as error:
            raise ConfigError(
                f"--marks {path}: line {line}: time_s is {row[time]!r}; expected seconds from the"
                " start, such as 93.5"
            ) from error
        if not row[text]:
            raise ConfigError(f"--marks {path}: line {line}: has no text in the column mark")
        name = "" if file is None else row[file]
        marks.append(Mark(time_s, " ".join(row[text].split()), name))
    if not marks:
        raise ConfigError(f"--marks {path}: holds no mark; {_COLUMNS}")
    return tuple(sorted(marks, key=lambda mark: mark.time_s))


def marks_of(marks: Sequence[Mark], files: Collection[str]) -> Marks:
    """Return the marks of these recordings, by the names of their files, and those of any."""
    names = {name.strip() for name in files}  # as the cells of a table
    return tuple(mark for mark in marks if not mark.file or mark.file in names)


def recorded_marks(table: Table) -> Marks:
    """Return the marks that the record itself holds (``affect-edge mark TEXT``)."""
    return tuple(
        Mark(each.time_s, " ".join(str(each.detail.get("text", "")).split()))
        for each in table.events
        if each.event == "mark"
    )


def outside(table: Table, marks: Sequence[Mark]) -> int:
    """Return how many marks lie outside the time of a table."""
    return sum(not table.start_s <= mark.time_s <= table.end_s for mark in marks)


def check_interval(interval_s: float | None, length_s: float) -> None:
    """Check that a record of ``length_s`` seconds is not cut into too many intervals.

    Raises:
        ConfigError: there would be more than ``INTERVALS_MAX``.
    """
    if interval_s is not None and length_s / interval_s > INTERVALS_MAX:
        raise ConfigError(
            f"--interval {interval_s:g} s: makes {length_s / interval_s:.0f} intervals of"
            f" {length_s:.0f} s; expected {INTERVALS_MAX} at most: take a longer one"
        )


def intervals_of(table: Table, interval_s: float | None, marks: Sequence[Mark]) -> list[Interval]:
    """Divide the time of a table.

    With ``interval_s``, each interval has that length, counted from second 0; without it, one
    reaches from each mark to the next, and the first from the start to the first mark. Marks
    outside the table's time are left out.

    Raises:
        ConfigError: there would be more than ``INTERVALS_MAX``.
    """
    start_s, end_s = table.start_s, table.end_s
    if interval_s is not None:
        # products of floats: an end at a border is neither just before nor just after it
        first = floor((start_s + _SAME_S) / interval_s)
        last = ceil((end_s - _SAME_S) / interval_s)
        check_interval(interval_s, end_s - start_s)
        edges = [number * interval_s for number in range(first, max(last, first + 1) + 1)]
        edges[0], edges[-1] = min(edges[0], start_s), max(end_s, edges[-2])
    else:
        inner = {mark.time_s for mark in marks if start_s < mark.time_s < end_s - _SAME_S}
        edges = sorted({start_s, max(end_s, start_s)} | inner)
        if len(edges) == 1:
            edges *= 2
    found, at, text = [], 0, ""
    ordered = sorted(marks, key=lambda mark: mark.time_s)
    for number, (from_s, to_s) in enumerate(pairwise(edges), 1):
        while at < len(ordered) and ordered[at].time_s <= from_s:
            is_with_last = at > 0 and ordered[at].time_s == ordered[at - 1].time_s
            text = f"{text} | {ordered[at].text}" if is_with_last else ordered[at].text
            at += 1
        found.append(Interval(number, from_s, to_s, text))
    return found
