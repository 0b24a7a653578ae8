"""The section of a report on eyes: PERCLOS, blinks, and closures, as the mesh measured them."""

from collections.abc import Sequence
from typing import Final

from edge.results.facts import Facts
from edge.results.figures import clock_text, has_hours
from edge.results.markup import Child, Html, table, tag
from edge.results.summary import Moments, SummaryRow
from edge.results.table import Table, TableEvent
from edge.results.words import DASH, percent_text, section

CLOSURES_MAX: Final = 24
"""Closures that a page lists."""

_CAPTION: Final = (
    "PERCLOS is the share of the last minute in which the eyes were closed: a sign of drowsiness,"
    " not a measure of it. Each value is of the minute before it. A face that looks far down reads"
    " as closed. A dash: not known, because the face was measured for less than a minute at a time,"
    " or too seldom. How well blinks and tired people are read has not been evaluated."
)


def eyes_section(record: Table, facts: Facts, rows: Sequence[SummaryRow]) -> Html:
    """Return what was measured of the eyes; nothing where the face mesh was off.

    Args:
        record: the record.
        facts: of the record.
        rows: the whole of each subject that is reported.
    """
    if not any(model.role == "mesh" for model in facts.models) and not record.is_measured.any():
        return Html()
    head: list[Child] = [
        "Face", "Measured (% of the time in view)", "PERCLOS, mean (%)", "PERCLOS, highest (%)",
        "Blinks a minute, mean",
    ]  # fmt: skip
    cells: list[list[Child]] = [
        [
            row.subject.name.replace(" ", "\u00a0"),
            percent_text(row.eyes.measured_s, row.in_view_s),
            _percent(row.eyes.perclos.mean),
            _percent(row.eyes.perclos_max),
            _rate(row.eyes.blinks_per_min),
        ]
        for row in rows
    ]
    return section(
        "Eyes",
        table("What the face mesh measured", head, cells) if cells else None,
        tag("p", _CAPTION, class_="caption"),
        *_closures(record),
    )


def _closures(record: Table) -> list[Html]:
    """Return how many blinks there were, and when eyes stayed closed, of all faces."""
    blinks = sum(each.event == "blink" for each in record.events)
    closed = [each for each in record.events if each.event == "eyes_closed"]
    words = f"In the whole record: blinks: {blinks}; eyes that stayed closed: {len(closed)}"
    if closed:
        hours = has_hours(record.end_s)
        listed = ", ".join(_closure(each, hours=hours) for each in closed[:CLOSURES_MAX])
        more = f", and {len(closed) - CLOSURES_MAX} more" if len(closed) > CLOSURES_MAX else ""
        words += f", reported at {listed}{more}"
    note = " Blinks are found only where a face is measured at least ten times a second."
    return [tag("p", f"{words}.{note}")]


def _closure(event: TableEvent, *, hours: bool) -> str:
    detail = event.detail
    whose = detail.get("participant") or f"track {detail.get('track', DASH)}"
    return f"{clock_text(event.time_s, hours=hours)} ({whose})"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{share * 100:.1f}"


def _rate(blinks: Moments) -> str:
    return DASH if blinks.mean is None else f"{blinks.mean:.1f}"
