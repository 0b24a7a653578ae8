"""The lines of CSV and JSONL logs as items of an erasure, and gaps as their lines."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from edge.client.logs.erasing.plan import Item
from edge.client.tidy import EVENT_COLUMNS, KEY_COLUMNS, PlacedGap, csv_lines
from edge.errors import ConfigError
from edge.protocol.naming import codes_in, codes_of

_HEADER_BYTES: Final = 64 << 10


class LineKind(Protocol):
    """What the lines of a file are.

    Attributes:
        header_bytes: length of the first line, if it is no item.
        has_gaps: whether gaps are recorded in such a file.
    """

    header_bytes: int
    has_gaps: bool

    def item(self, line: bytes) -> Item | None:
        """Return the item in a line; None if it is damaged."""

    def gap_line(self, gap: PlacedGap) -> bytes:
        """Return the line of a gap."""

    def text(self, json_text: str) -> bytes:
        """Return how a part of a message's JSON stands in a line."""


class JsonKind:
    """Messages as received, one a line."""

    header_bytes = 0
    has_gaps = True

    def item(self, line: bytes) -> Item | None:
        """Return the item in a line; None if it is damaged."""
        try:
            record = json.loads(line)
            return _of_gap(record) if record["kind"] == "gap" else _of_message(record)
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    def gap_line(self, gap: PlacedGap) -> bytes:
        """Return the line of a gap."""
        record = gap.gap.record(gap.device) | {"unix_ns": gap.unix_ns}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def text(self, json_text: str) -> bytes:
        """Return how a part of a message's JSON stands in a line."""
        return json_text.encode()


class CsvKind:
    """A table of ``edge.client.tidy``, of this or an earlier version.

    Args:
        header: its first line.
    """

    def __init__(self, header: bytes) -> None:
        self.header_bytes = len(header)
        self._columns = header.decode(errors="replace").rstrip("\n").split(",")
        self.has_gaps = "event" in self._columns

    def item(self, line: bytes) -> Item | None:
        """Return the item in a line; None if it is damaged."""
        try:
            row = next(csv.reader([line.decode(errors="replace")]), [])
            return item_of_row(dict(zip(self._columns, row, strict=True)))
        except (csv.Error, ValueError, LookupError, TypeError, AttributeError):
            return None

    def gap_line(self, gap: PlacedGap) -> bytes:
        """Return the line of a gap."""
        cells = dict(zip(EVENT_COLUMNS, gap.row(), strict=True))
        return csv_lines([[cells.get(column) for column in self._columns]])

    def text(self, json_text: str) -> bytes:
        """Return how a part of a message's JSON stands in a line."""
        return json_text.replace('"', '""').encode()


def kind_of(path: Path) -> LineKind:
    """Return what the lines of a file of a log are.

    Raises:
        ConfigError: it holds something else.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = file.readline(_HEADER_BYTES)
    if path.suffix.lower() != ".csv":
        if first.endswith(b"\n") and not first.startswith(b"{"):
            raise ConfigError(f"--log {path}: holds no messages; expected a log of affect-edge")
        return JsonKind()
    if first and not first.startswith(csv_lines([KEY_COLUMNS])[:-1] + b","):
        raise ConfigError(f"--log {path}: has other columns; expected a log of affect-edge")
    return CsvKind(first)


def item_of_row(cells: Mapping[str, Any]) -> Item:
    """Return the item of a row of a table, by its cells, as text or as values.

    Raises:
        ValueError, LookupError, TypeError: the row is damaged.
    """
    head = (cells["stream"], int(cells["epoch"]), int(cells["seq"]), str(cells.get("device", "")))
    unix_ns, time_s = int(cells["unix_ns"]), float(cells["time_s"])
    if "event" not in cells:
        codes = frozenset([code] if (code := cells["participant"]) else [])
        published_ns = int(cells["published_ns"])
        return Item("frame", *head, unix_ns, published_ns, time_s, codes, "", {})
    detail = json.loads(cells["detail"]) if cells["detail"] else {}
    monotonic_ns = int(cells["monotonic_ns"])
    if cells["event"] == "gap":
        detail["last_missing"] = int(cells["last_missing"])
        return Item("gap", *head, unix_ns, monotonic_ns, time_s, frozenset(), "", detail)
    codes = codes_in(detail)
    return Item("event", *head, unix_ns, monotonic_ns, time_s, codes, cells["event"], detail)


def _of_message(record: Mapping[str, Any]) -> Item:
    kind, time = record["kind"], record["time"]
    seq = record["last_seq"] if kind == "status" else record["seq"]
    head = (kind, record["stream"], int(record["epoch"]), int(seq), record["device"])
    codes = codes_of(record)
    event, detail = "", {}
    monotonic_ns = time["published_ns"] if kind == "frame" else time["monotonic_ns"]
    if kind == "event":
        event, detail = record["event"], record["detail"]
    elif kind == "status":
        detail = record.get("session") or {}
    return Item(*head, time["unix_ns"], monotonic_ns, 0.0, codes, event, detail)


def _of_gap(record: Mapping[str, Any]) -> Item:
    head = (record["stream"], int(record["epoch"]), int(record["first_missing"]))
    detail = {"reason": record["reason"], "last_missing": record["last_missing"]}
    at = int(record["unix_ns"])
    return Item("gap", *head, record["device"], at, 0, 0.0, frozenset(), "", detail)
