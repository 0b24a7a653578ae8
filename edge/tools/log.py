"""The downstream logger: the live stream into a file, with every gap told and written down.

The formats are those of ``edge.client.formats``. A log is continued where it stopped; a late
message (a repeat) is counted and not written again.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.client import Cursor, Received, Subscriber
from edge.client.formats import LogFormat, opened_log
from edge.clock import monotonic_ns
from edge.protocol.messages import EventMessage, StatusMessage
from edge.tools.silence import SilenceNotice

_HIGH_WATER = 10_000  # five minutes at 30 frames a second: a memory card can stall for seconds
_DRAIN_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What a logger did.

    Attributes:
        messages: how many were taken in; a CSV has no rows for the statuses among them.
        rows: lines for them: in a CSV one a face or event, in a JSONL one a message.
        gaps: how many gaps were told, and
        missing: how many messages they hold.
        late: repeats, received and not written.
        undecodable: parts that were no message.
        cut_bytes: what was torn by an earlier crash and cut off at the start.
    """

    messages: int
    rows: int
    gaps: int
    missing: int
    late: int
    undecodable: int
    cut_bytes: int


def run_log(
    endpoints: Sequence[str],
    out: Path,
    *,
    stop: Callable[[], bool],
    name: str = "log",
    device: str | None = None,
    until_end: bool = False,
    tell: Callable[[str], None] | None = None,
) -> LogSummary:
    """Write what the daemons at ``endpoints`` publish to ``out``, until ``stop`` returns true.

    Args:
        endpoints: PUB addresses; at least one.
        out: ``.jsonl`` or ``.csv``; continued where it exists.
        stop: asked at least five times a second; what is already received is still written.
        name: who is writing; stands before each line of ``tell``.
        device: only this device's messages.
        until_end: also end once every device heard has sent ``epoch_ended``.
        tell: takes one line for people at each change (a gap, a new epoch, a repair), and once
            where nothing comes for three seconds; stderr when None.

    Raises:
        ConfigError: an endpoint or the file cannot be used as it stands (exit 78).
        LogFileError: the file cannot be written any further (exit 1); its lines are whole.
    """
    say = tell or _to_stderr
    with opened_log(out) as sink:
        cursors = sink.cursors()
        if sink.cut_bytes:
            say(f"{name}: {out}: {sink.cut_bytes} bytes torn by a crash were cut off")
        with Subscriber(endpoints, device=device, high_water=_HIGH_WATER, cursors=cursors) as live:
            log = _Log(sink, lambda line: say(f"{name}: {line}"), cursors)
            silence = SilenceNotice(endpoints, lambda line: say(f"{name}: {line}"))
            while not stop() and not (until_end and log.ended):
                received = live.receive(timeout_s=0.2)
                silence.note(heard=received is not None or live.undecodable > 0)
                if received is not None:
                    log.book(received)
                log.tell_undecodable(live.undecodable)
                for file in sink.files:
                    file.sync_if_due()
            deadline_ns = monotonic_ns() + _DRAIN_NS
            while monotonic_ns() < deadline_ns and (received := live.receive(timeout_s=0.0)):
                log.book(received)
        for file in sink.files:
            file.sync()
        return log.summary(live.undecodable)


class _Log:
    """Counts and tells what is written to a sink."""

    def __init__(self, sink: LogFormat, say: Callable[[str], None], cursors: list[Cursor]) -> None:
        self._sink = sink
        self._say = say
        self._counts: Counter[str] = Counter()
        self._epochs = {(cursor.stream, cursor.epoch) for cursor in cursors}
        self._open: dict[str, bool] = {}  # device -> whether it still goes on

    @property
    def ended(self) -> bool:
        """Whether every device heard in this run has ended."""
        return bool(self._open) and not any(self._open.values())

    def book(self, received: Received) -> None:
        message, gap = received.message, received.gap
        if (message.stream, message.epoch) not in self._epochs:
            self._epochs.add((message.stream, message.epoch))
            self._say(f"{message.device}: stream {message.stream}, epoch {message.epoch}")
        if gap is not None:
            self._counts["gaps"] += 1
            self._counts["missing"] += gap.missing
            self._say(
                f"{message.device}: gap: {gap.missing} messages missing, {gap.first_missing} to"
                f" {gap.last_missing} of epoch {gap.epoch}"
            )
        if received.late:
            self._counts["late"] += 1
            return
        self._counts["rows"] += self._sink.write(received)
        self._counts["messages"] += 1
        if isinstance(message, StatusMessage):
            self._open.setdefault(message.device, True)
        else:
            ends = isinstance(message, EventMessage) and message.event == "epoch_ended"
            self._open[message.device] = not ends

    def tell_undecodable(self, count: int) -> None:
        if count and not self._counts["told"]:
            self._counts["told"] = 1
            self._say("a publisher sends what is no message of this version; it is counted")

    def summary(self, undecodable: int) -> LogSummary:
        counts = {key: self._counts[key] for key in ("messages", "rows", "gaps", "missing", "late")}
        return LogSummary(**counts, undecodable=undecodable, cut_bytes=self._sink.cut_bytes)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
