"""Measures how many messages a second a log takes: parsing and writing, without a network.

``python scripts/log_rate.py [--faces 1] [--messages 100000] [--url postgresql://...] [FOLDER]``
writes a log of each format into a new folder within FOLDER, or one log into the database at the
URL. It prints one line for each: messages per second, and per second of this process's processor
time, which other programs on the machine change less. Parsing is that of the subscriber. Closing is
not included: there, a Parquet log makes its files.
"""

import argparse
import os
import tempfile
from pathlib import Path

from edge.client import Received
from edge.client.logs import opened_log
from edge.clock import elapsed_ms, monotonic_ns
from edge.config import redact
from edge.protocol import messages
from edge.tools.log_writer import COMMIT_MESSAGES
from tests.support.wire import face, frame


def main() -> None:
    """Measure each format."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", type=Path)
    arguments.add_argument("--faces", type=int, default=1)
    arguments.add_argument("--messages", type=int, default=100_000)
    arguments.add_argument("--url")
    chosen = arguments.parse_args()
    faces = [face(track) for track in range(chosen.faces)]
    parts = [messages.encode(frame(seq, *faces)) for seq in range(chosen.messages)]
    print(f"{len(parts)} messages of {len(parts[-1])} bytes, {os.getloadavg()[0]:.1f} processes")
    begin = _now()
    for part in parts:
        messages.decode(part)
    _report("parsed", len(parts), begin)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        files = ("log.sqlite", "log.jsonl", "log.csv", "log.parquet")
        for name in [chosen.url] if chosen.url else [str(Path(folder) / each) for each in files]:
            with opened_log(name) as log:
                log.cursors()
                begin = _now()
                for count, part in enumerate(parts, 1):
                    log.write(Received(messages.decode(part), part, None, late=False))
                    if count % COMMIT_MESSAGES == 0:
                        log.commit()
                log.commit()
                _report(f"parsed and committed to {redact(name)}", len(parts), begin)


def _now() -> tuple[int, float]:
    times = os.times()
    return monotonic_ns(), times.user + times.system


def _report(what: str, count: int, begin: tuple[int, float]) -> None:
    seconds, processor_s = elapsed_ms(begin[0]) / 1e3, _now()[1] - begin[1]
    print(f"{what}: {count / seconds:.0f}/s; {count / processor_s:.0f} per processor second")


if __name__ == "__main__":
    main()
