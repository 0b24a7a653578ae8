"""Ranges of erased messages: what the log records as gaps in their place."""

from collections.abc import Iterator, Sequence
from typing import Final

from edge.client.gaps import Gap
from edge.client.logs.erasing.plan import ERASED, Epoch, Item, Plan
from edge.client.tidy import PlacedGap

SAMPLES: Final = 64
"""Erased messages whose own numbers are looked for, evenly distributed."""


class Runs:
    """Collects the messages of a log that are to be erased. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[Epoch, list[tuple[Item, int]]] = {}  # first message, last number
        self._erased: dict[Epoch, list[tuple[int, int]]] = {}

    def add(self, item: Item) -> None:
        """Add a frame or event, or another row of it."""
        runs = self._runs.setdefault((item.stream, item.epoch), [])
        if runs and item.seq in (runs[-1][1], runs[-1][1] + 1):
            runs[-1] = (runs[-1][0], item.seq)
        else:
            runs.append((item, item.seq))

    def note_gap(self, item: Item) -> None:
        """Note a gap of the log: one of an erasure that was interrupted is not recorded again."""
        last = item.detail.get("last_missing")
        if item.detail.get("reason") == ERASED and isinstance(last, int):
            self._erased.setdefault((item.stream, item.epoch), []).append((item.seq, last))

    def count(self, plan: Plan) -> tuple[int, int]:
        """Return the number of messages, and how many of them lie outside of the session."""
        messages = inside = 0
        for first, last in self._merged():
            messages += last - first.seq + 1
            for span in plan.spans:
                if span.stream == first.stream:
                    inside += _overlap(first, last, span.first, span.last)
        return messages, messages - inside

    def gaps(self) -> list[PlacedGap]:
        """Return the gaps to record, by stream, epoch and number."""
        return [
            PlacedGap(
                Gap(first.stream, first.epoch, first.seq, last, ERASED),
                first.device,
                first.unix_ns,
                first.monotonic_ns,
                first.time_s,
            )
            for first, last in self._merged()
            if not any(
                known_first <= first.seq and last <= known_last
                for known_first, known_last in self._erased.get((first.stream, first.epoch), ())
            )
        ]

    def _merged(self) -> list[tuple[Item, int]]:
        merged: list[tuple[Item, int]] = []
        for _, runs in sorted(self._runs.items()):
            begin = len(merged)
            for first, last in sorted(runs, key=lambda run: run[0].seq):
                if len(merged) > begin and first.seq <= merged[-1][1] + 1:
                    merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
                else:
                    merged.append((first, last))
        return merged


class Samples:
    """Keeps some of many byte strings, evenly distributed."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._step = 1
        self._count = 0

    def add(self, content: bytes) -> None:
        """Add a byte string."""
        if self._count % self._step == 0:
            self._kept.append(content)
            if len(self._kept) > SAMPLES:
                self._kept = self._kept[::2]
                self._step *= 2
        self._count += 1

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._kept)


def _overlap(first: Item, last: int, begin: Sequence[int], end: Sequence[int]) -> int:
    """Return how many of the numbers ``first`` to ``last`` of an epoch lie in a span."""
    if not begin[0] <= first.epoch <= end[0]:
        return 0
    low = max(first.seq, begin[1]) if begin[0] == first.epoch else first.seq
    high = min(last, end[1]) if end[0] == first.epoch else last
    return max(0, high - low + 1)
