"""Measures what the journal writes to its device in a day: ``python -m tests.faults.wear
MESSAGES.jsonl MINUTES FACES``.

Accelerated: the commits of a stretch of time follow each other without pauses, over ext4 on a loop
device. The messages, 30 a second, are those of a log with that many faces, such as of the demo.
"""

import json
import sys
import time
from pathlib import Path

from edge.hub.journal.entries import Entry
from edge.hub.journal.store import Store
from edge.hub.journal.writer import RELAXED_S, TICK_S
from tests.faults.loop_device import LoopDevice

RATE_HZ = 30
DAY_S = 86_400


def main(messages: Path, minutes: int, faces: int) -> None:
    """Print a line for each way of writing; only messages with so many faces are used."""
    lines = [line for line in messages.read_bytes().splitlines() if b'"kind":"frame"' in line]
    bodies = [line for line in lines if len(json.loads(line)["faces"]) == faces]
    print(f"{len(bodies)} messages, mean {sum(map(len, bodies)) / len(bodies):.0f} bytes")
    for name, interval_s, trims in (
        ("alone", TICK_S, False),
        ("alone, trimming", TICK_S, True),
        ("with an acknowledging consumer", RELAXED_S, False),
        ("with an acknowledging consumer, trimming", RELAXED_S, True),
    ):
        with LoopDevice(1024) as disk:
            store = Store(disk.mount / "journal.sqlite", "stream", check_s=1)
            seq = 0
            before, started = disk.written_bytes(), time.monotonic()
            for commit in range(int(minutes * 60 / interval_s)):
                last = int((commit + 1) * interval_s * RATE_HZ)
                store.commit(
                    [Entry(1, n, n, bodies[n % len(bodies)]) for n in range(seq, last)],
                    run_s=int(commit * interval_s),
                )
                seq = last
                if trims and commit % int(60 / interval_s) == 0:
                    old = int(commit * interval_s) - 120
                    while store.trim(count=200, older_than_run_s=old, upto=None):
                        pass
            used = store.used_bytes()
            store.close()
            disk.detach()
            written = disk.written_bytes() - before
            disk.attach()
        per_day = written / (minutes * 60) * DAY_S
        print(
            f"{name}: {per_day / 1e9:.2f} GB a day; file {used >> 10} KiB for {seq} messages;"
            f" {minutes} min of messages in {time.monotonic() - started:.0f} s"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
