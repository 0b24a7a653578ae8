"""``affect-edge log``: write the live stream to a file; report and record every gap.

The formats are those of ``edge.client.logs``. An existing log is continued. A late message (a
repeat) is counted and not written again.
"""

import hashlib
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from edge.client import Cursor, Received, Subscriber
from edge.client.backfill import Since
from edge.client.logs import LogFormat, NewFiles, full_name, opened_log
from edge.client.logs.rotation import Rotation
from edge.clock import monotonic_ns
from edge.config import redact
from edge.descriptors import write_error_line
from edge.errors import ConfigError
from edge.protocol.events import EpochEnded
from edge.protocol.messages import EventMessage
from edge.tools.catch_up import CatchUpNotice
from edge.tools.device_runs import DeviceRuns
from edge.tools.log_writer import LogWriter, until_available
from edge.tools.silence import SilenceNotice

_HIGH_WATER = 10_000  # five minutes at 30 frames a second: a memory card can stall for seconds
_DRAIN_NS = 1_000_000_000
_FETCHED_MAX = 64  # messages between two looks at signals, timers and the commit: a few ms
_END_S = 3.0  # a daemon that runs sends a status each second


@dataclass(frozen=True, slots=True)
class LogSummary:
    """Counts of one run of the logger.

    Attributes:
        messages: messages handed to the log; a CSV has no rows for the statuses among them.
        rows: lines written for them: in a CSV one per face or event, in a JSONL one per message.
        gaps: gaps found.
        missing: messages missing in these gaps.
        late: repeats, which were not written.
        undecodable: received parts that were no message.
        cut_bytes: end of the file that a crash left uncommitted, cut off at the start.
        gave_up: nothing was received, or no service answered, for ``give_up_s``.
        deleted_rows: lines of this run whose file was deleted while it was written.
    """

    messages: int
    rows: int
    gaps: int
    missing: int
    late: int
    undecodable: int
    cut_bytes: int
    gave_up: bool = False
    deleted_rows: int = 0


def run_log(
    endpoints: Sequence[str],
    out: str | Path,
    *,
    stop: Callable[[], bool],
    rotation: Rotation = Rotation(),  # noqa: B008 - frozen
    rotate_now: Callable[[], bool] = lambda: False,
    services: Sequence[str] | None = (),
    since: Since = "oldest",
    once: bool = False,
    name: str | None = None,
    device: str | None = None,
    until_end: bool = False,
    give_up_s: float = 0.0,
    report: Callable[[str], None] | None = None,
) -> LogSummary:
    """Write what the daemons at ``endpoints`` publish to ``out``, until ``stop`` returns true.

    Args:
        endpoints: PUB addresses; at least one.
        out: the log (``edge.client.logs``); continued where it exists.
        stop: called at least five times a second. Messages that have arrived by then are still
            written; messages on their way are not waited for.
        rotation: when to rotate the log.
        rotate_now: called at least five times a second; true rotates the log at once.
        services: service addresses of the daemons, to fetch what was missed; none: it is only
            reported, and with None, a line says so.
        since: where to begin with a stream that is new to the log; see ``Subscriber``.
        once: end when everything that the daemons stored is in the log. Where no message comes, a
            new log leaves no file, as with ``until_end``.
        name: of this logger, under which the daemons note what it has; None: one that is made of
            ``out`` (``consumer_name``), which no other log has. It begins each line of
            ``report``.
        device: only this device's messages.
        until_end: also end once every device that sent a message has sent ``epoch_ended``, and
            nothing more is to be fetched.
        give_up_s: with ``until_end`` or ``once``, also end after this long without any message: the
            daemon was killed, had ended before, or never ran; with ``once``, also if the services
            that are left answer nothing for so long; with both, if ``out`` cannot be opened for so
            long, such as a database that does not run. 0: wait for ever.
        report: takes a line at each change (a gap, a new epoch, a repair, a device that is silent
            for three seconds); standard error when None.

    Raises:
        ConfigError: an endpoint or the file cannot be used as it stands (exit 78).
        RequestRefused: a daemon refuses to let this logger fetch (exit 78).
        LogFileError: the log cannot be written any more (exit 1); it holds what was committed.
    """
    write_line = report or write_error_line

    def report_as(line: str) -> None:
        write_line(f"{name or 'log'}: {line}")

    give_up_s = give_up_s if until_end or once else 0.0
    sink, cursors, files, opened = until_available(
        lambda: _open(out, report_as), stop=stop, report=report_as, give_up_s=give_up_s
    )
    with opened:
        if sink.cut_bytes:
            report_as(f"{out}: {sink.cut_bytes} bytes that a crash left uncommitted were cut off")
        with Subscriber(
            endpoints,
            device=device,
            high_water=_HIGH_WATER,
            cursors=cursors,
            services=services or (),
            name=(name or consumer_name(str(out))) if services else None,
            since=since,
            report=report_as,
        ) as live:
            writer = LogWriter(
                sink, rotation, committed=live.acknowledge, stop=stop, report=report_as
            )
            catch_up = CatchUpNotice(live, report_as)
            log = _Log(writer, report_as, cursors)
            goes_on = bool(cursors) or not (once or until_end)
            files.are_wanted = lambda: goes_on or log.has_rows
            silence = SilenceNotice(endpoints, report_as, device)
            gave_up, undecodable = "", 0
            begun = "continued" if cursors else "new"
            if services is None:
                report_as("without --service, missed messages are reported, not fetched")
            while not stop():
                # the end of an earlier run may be fetched: then more follows
                if until_end and log.ended and (live.caught_up or silence.silent_s >= _END_S):
                    break
                received = live.receive(timeout_s=0.2)  # the first call connects
                if begun:
                    name_shown = redact(full_name(str(out)))
                    report_as(f"writing {name_shown} ({begun}), from {', '.join(endpoints)}")
                    begun = ""
                silence.turn()
                catch_up.turn(fetched=log.write_all(received, live, silence))
                if received is None and live.undecodable == undecodable:
                    silence.check(held=live.held)
                    gave_up = _given_up(silence.silent_s, live, give_up_s)
                gave_up = gave_up or (_given_up_service(live, give_up_s) if once else "")
                if gave_up:
                    left = "" if files.are_wanted() else "; no log is left"
                    report_as(f"{gave_up}: given up{left}")
                    break
                if once and live.caught_up:  # what comes now was published since
                    log.check_device(device)
                    break
                undecodable = live.undecodable
                log.report_undecodable(undecodable)
                if rotate_now():
                    writer.rotate()
                writer.turn()
            deadline_ns = monotonic_ns() + _DRAIN_NS
            while monotonic_ns() < deadline_ns and (received := live.receive(timeout_s=0.0)):
                log.write(received)
            writer.commit()
        return log.summary(sink, live.undecodable, gave_up=bool(gave_up))


def _given_up(silent_s: float, live: Subscriber, limit_s: float) -> str:
    """Return what was waited for in vain, where nothing was received; empty: it goes on."""
    is_over = 0 < limit_s <= silent_s and not live.held
    return f"nothing received for {limit_s:g} s" if is_over else ""


def _given_up_service(live: Subscriber, limit_s: float) -> str:
    """Return the same, where the services that are left do not answer."""
    is_over = 0 < limit_s <= live.unanswered_s
    return f"waited for {live.waiting_for or 'a reply'}" if is_over else ""


def _open(
    out: str | Path, report: Callable[[str], None]
) -> tuple[LogFormat, list[Cursor], NewFiles, ExitStack]:
    """Return the log, its cursors, the files that it makes, and what closes it.

    A new log leaves no file, unless ``NewFiles.are_wanted`` is set to something else.
    """
    with ExitStack() as opening:
        files = opening.enter_context(NewFiles(out))
        sink = opening.enter_context(opened_log(out, report))
        cursors = sink.cursors()
        files.are_wanted = lambda: bool(cursors)
        return sink, cursors, files, opening.pop_all()


def check_since(text: str) -> Since:
    """Return ``text`` as the beginning of a new stream.

    Raises:
        ConfigError: it is none.
    """
    for since in get_args(Since):
        if since == text:
            return cast("Since", text)
    raise ConfigError(f"--since {text!r}: expected {', '.join(get_args(Since))}")


def consumer_name(out: str) -> str:
    """Return the name of the logger of ``out`` on this machine: the same at each start.

    Two logs of one daemon must not share a name: each would acknowledge what the other lacks.
    """
    place = out if "://" in out else os.path.abspath(out)
    digest = hashlib.sha256(f"{platform.node()} {place}".encode(errors="replace")).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(out).stem if "://" not in out else "database")
    return f"log-{stem[:40]}-{digest[:8]}"


class _Log:
    """Hands messages to the writer, counts them and reports gaps."""

    def __init__(
        self, writer: LogWriter, report: Callable[[str], None], cursors: list[Cursor]
    ) -> None:
        self._writer = writer
        self._report = report
        self._counts: Counter[str] = Counter()
        self._epochs = {cursor.stream: cursor.epoch for cursor in cursors}  # the newest
        self._replaced: set[str] = set()  # streams of which an older epoch was received
        self._runs = DeviceRuns(report)
        self._undecodable_reported = False

    @property
    def ended(self) -> bool:
        """Whether every device that sent a message in this run has ended its epoch."""
        return self._runs.ended

    @property
    def has_rows(self) -> bool:
        """Whether anything was written in this run."""
        return self._counts["rows"] > 0

    def write_all(self, received: Received | None, live: Subscriber, silence: SilenceNotice) -> int:
        """Write a message and the fetched ones that wait behind it; return how many were fetched.

        Of these so many at most that what is due between messages is not delayed noticeably.
        """
        fetched = 0
        while received is not None:
            silence.note(received.message)
            self.write(received)
            fetched += received.backfilled
            if not received.backfilled or fetched == _FETCHED_MAX:
                break
            received = live.receive(timeout_s=0.0)
        return fetched

    def write(self, received: Received) -> None:
        message = received.message
        newest = self._epochs.get(message.stream, 0)
        if message.epoch > newest:
            self._epochs[message.stream] = message.epoch
            self._report(f"{message.device}: stream {message.stream}, epoch {message.epoch}")
        elif message.epoch < newest and received.late and message.stream not in self._replaced:
            self._replaced.add(message.stream)
            self._report(
                f"{message.device}: publishes epoch {message.epoch}, and the log has epoch"
                f" {newest} of the same stream: nothing of it is written. Was the journal replaced"
                " by an older copy? Move the journal's folder away, to begin a new stream"
            )
        for gap in received.gaps:
            self._counts["gaps"] += 1
            self._counts["missing"] += gap.missing
            self._report(f"{message.device}: gap: {gap.describe()}")
        if received.late:
            self._counts["late"] += 1
            return
        self._counts["rows"] += self._writer.write(received)
        self._counts["messages"] += 1
        self._runs.note(received)
        is_end = isinstance(message, EventMessage) and message.event == EpochEnded.event
        if is_end and not received.backfilled:
            self._report(f"{message.device}: the daemon has ended, epoch {message.epoch}")

    def check_device(self, device: str | None) -> None:
        """Check that the only device that is logged has ever sent a message: each start sends one.

        Raises:
            ConfigError: it has not.
        """
        if device is not None and not self._epochs:
            raise ConfigError(
                f"--device {device}: the daemons have stored nothing of this device; expected a"
                " device.name of their configurations"
            )

    def report_undecodable(self, count: int) -> None:
        if count and not self._undecodable_reported:
            self._undecodable_reported = True
            self._report("a publisher sends data that is no message of this version; counted only")

    def summary(self, sink: LogFormat, undecodable: int, *, gave_up: bool) -> LogSummary:
        counts = {key: self._counts[key] for key in ("messages", "rows", "gaps", "missing", "late")}
        return LogSummary(
            **counts,
            undecodable=undecodable,
            cut_bytes=sink.cut_bytes,
            gave_up=gave_up,
            deleted_rows=sink.deleted_rows,
        )
