"""A recorder of LSL streams, in a process of its own: ``python -m tests.support.lsl_recorder``.

Arguments: the XDF file, the number of streams to wait for. Writes ``recording`` to standard output
once all are open, a line per second with the number of samples of each stream, and each marker.
Ends when standard input ends. ``LSLAPICFG`` says where streams are looked for.
"""

import select
import sys
import time
from pathlib import Path

import pylsl
from pylsl.util import LostError, TimeoutError

from tests.support.waiting import HANG_S
from tests.support.xdf import XdfFile

OFFSET_S = 1.0


def main(path: Path, wanted: int) -> None:
    """Record until standard input ends."""
    found: list[pylsl.StreamInfo] = []
    deadline = time.monotonic() + HANG_S
    while len(found) < wanted:
        assert time.monotonic() < deadline, f"only {len(found)} of {wanted} streams"
        found = pylsl.resolve_streams(wait_time=1.0)
    inlets = dict(enumerate((pylsl.StreamInlet(info, recover=True) for info in found), 1))
    counts = dict.fromkeys(inlets, 0)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    with XdfFile(path) as file:
        for number, inlet in inlets.items():
            inlet.open_stream(timeout=HANG_S)
            file.header(number, inlet.info(timeout=HANG_S).as_xml())
        print("recording", flush=True)
        next_s = 0.0
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            is_due = time.monotonic() >= next_s
            for number, inlet in inlets.items():
                if is_due:
                    _write_offset(file, number, inlet)
                samples, stamps = inlet.pull_chunk(timeout=0.0)
                if not stamps:
                    continue
                if inlet.info(timeout=1).type() == "Markers":
                    texts = [sample[0] for sample in samples]
                    file.texts(number, texts, stamps)
                    print(*(f"marker {text}" for text in texts), sep="\n", flush=True)
                else:
                    file.numbers(number, samples, stamps)
                counts[number] += len(stamps)
                first.setdefault(number, stamps[0])
                last[number] = stamps[-1]
            if is_due:
                next_s = time.monotonic() + OFFSET_S
                print(*counts.values(), flush=True)
        for number in inlets:
            file.footer(number, first.get(number, 0.0), last.get(number, 0.0), counts[number])


def _write_offset(file: XdfFile, number: int, inlet: pylsl.StreamInlet) -> None:
    try:
        offset_s = inlet.time_correction(timeout=2.0)
    except (TimeoutError, LostError):
        return  # the sender is being restarted
    file.clock_offset(number, pylsl.local_clock(), offset_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
