"""Log files read back, and a logger in this process with a publisher to log."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.client import Gap
from edge.client.subscriber import Received
from edge.protocol import messages
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from edge.tools.log import LogSummary, run_log
from tests.support.wire import Publisher, event

Message = FrameMessage | EventMessage | StatusMessage


def received(message: Message, gap: Gap | None = None) -> Received:
    """Return ``message`` as a subscriber returns it."""
    return Received(message, messages.encode(message), gap, late=False)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file; fail if its last line has no end."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; fail if one has too few or too many values."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def log_all(out: Path, sent: Sequence[Message], **options: Any) -> tuple[LogSummary, list[str]]:
    """Publish ``sent`` and an end to a logger in this process; return its summary and reports."""
    reports: list[str] = []
    endpoint = f"ipc://{out.parent}/pub"
    with Publisher(endpoint) as publisher:
        last = max(m.last_seq if isinstance(m, StatusMessage) else m.seq for m in sent)
        pending = [*sent, event(last + 1, "epoch_ended")]

        def stop() -> bool:
            if pending and publisher.subscribed():
                publisher.send(*pending)
                pending.clear()
            return False

        summary = run_log(
            [endpoint], out, stop=stop, until_end=True, report=reports.append, **options
        )
    return summary, reports
