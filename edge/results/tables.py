"""Reads a record into a table: a log of any format, or the folder that ``analyse`` made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge.client.logs.sessions import EVENTS as SESSION_EVENTS
from edge.client.logs.sessions import Session, SessionEvent, Span, sessions_of
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError
from edge.results.batches import RecordedEvent, open_record
from edge.results.columns import Columns
from edge.results.table import Table

_REPORT_MS: Final = 2000.0
_CONTEXT: Final = frozenset(
    [
        "epoch_started", "worker_started", "camera_opened", "file_opened", "file_hashed",
        "folder_opened", "participants_restored", "baseline_ready", "baseline_invalid",
    ]
)  # fmt: skip
"""Events that say how a run was recorded; a session may begin long after them."""


def read_table(
    path: Path,
    *,
    session: str | None = None,
    device: str | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Table:
    """Read a record.

    Args:
        path: of a log, or of a folder that ``analyse`` made.
        session: name or id of the session to read; None: the whole record, which may hold one
            session at most.
        device: the device to read; None: the only one.
        report: takes a line of progress every two seconds.

    Raises:
        ConfigError: there is no such record, session or device, one of several has to be chosen,
            or there are more rows than ``ROWS_MAX``.
        LogFileError: it cannot be read.
    """
    record = open_record(path)
    events = [each for each in record.events() if device in (None, each.device)]
    chosen, spans = _choose(path, events, session)
    rows = Columns(path, device, spans)
    started_ns = reported_ns = monotonic_ns()
    for batch in record.frames(spans):
        rows.add(batch)
        if elapsed_ms(reported_ns) >= _REPORT_MS:
            reported_ns = monotonic_ns()
            rate = rows.read / elapsed_ms(started_ns) * 1e3
            report(f"{rows.read} rows read, {rate:.0f} rows/s")
    found = rows.table(
        [each for each in events if spans is None or _lies_within(spans, each)],
        context=[each for each in events if each.event in _CONTEXT],
        session=chosen,
    )
    if device is not None and not (found.device == device and (rows.kept or found.events)):
        known = ", ".join(rows.devices)
        raise ConfigError(f"--device {device!r}: expected a device of {path}: {known or 'none'}")
    if not len(found.frame_time_s):
        raise ConfigError(
            f"{path}: holds no frames" + (f" of session {session!r}" if session else "")
        )
    return found


def _choose(
    path: Path, events: Sequence[RecordedEvent], wanted: str | None
) -> tuple[Session | None, list[Span] | None]:
    known = sessions_of(
        SessionEvent(
            *(each.stream, each.epoch, each.seq, each.event),
            *(str(each.detail.get("session")), str(each.detail.get("name"))),
            each.detail.get("note"),
        )
        for each in events
        if each.event in SESSION_EVENTS
    )
    names = list(dict.fromkeys(each.name for each in known))
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    if wanted is None:
        if len(names) > 1:
            raise ConfigError(
                f"{path}: holds {len(names)} sessions, {listed}: choose one with --session NAME"
            )
        return None, None
    found = [each for each in known if wanted in (each.session, each.name)]
    if not found:
        raise ConfigError(
            f"--session {wanted!r}: expected a session of {path}: {listed or 'it has none'}"
        )
    return found[0], [span for each in found for span in each.spans]


def _lies_within(spans: Sequence[Span], event: RecordedEvent) -> bool:
    return any(span.holds(event.stream, event.epoch, event.seq) for span in spans)
