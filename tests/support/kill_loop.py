"""Loggers that are killed again and again, in processes of their own.

``python -m tests.support.kill_loop OUT KILLS SEED`` writes a log from an endless journal of two
streams with ``KILLS`` loggers that end by SIGKILL at a random moment, and a last one that ends by
itself. Each begins behind the cursors of the log, as a subscriber does that fetches, and commits,
acknowledges and rotates at random. It prints the number of messages of each stream.
"""

import os
import random
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from edge import clock
from edge.client.logs import opened_log
from edge.errors import AffectEdgeError
from edge.protocol.messages import EventMessage, FrameMessage
from tests.support.logged import logged
from tests.support.logs import received
from tests.support.wire import event, face, frame

STREAMS = ("s", "t")
_FACES = [face(track) for track in range(6)]
_REST = 50
_FAILED = 3  # exit code of a logger whose disk failed


def message(stream: str, seq: int) -> FrameMessage | EventMessage:
    """Return a message of the journal: an event of seven, else a frame with up to six faces."""
    if seq % 7 == 0:
        return event(seq, "mark", {"text": "x"}, stream=stream, device=f"edge-{stream}")
    return frame(seq, *_FACES[: seq % 6], stream=stream, device=f"edge-{stream}")


def run_loop(
    out: str,
    kills: int,
    seed: int,
    acknowledged: Path,
    power: tuple[Callable[[], None], Callable[[], None]] | None = None,
) -> int:
    """Kill ``kills`` loggers of ``out``; return how many messages of each stream are in it.

    Args:
        out: the log.
        kills: how many loggers.
        seed: of the random moments.
        acknowledged: a file for what was acknowledged; not on a disk whose power is cut.
        power: called before each kill, to cut it, and afterwards, to restore it.
    """
    rng = random.Random(seed)
    acknowledged.touch()
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            _end(_log, out, acknowledged, random.Random(rng.random()), None)
        if rng.random() < 0.8:  # else while it opens the log
            size = acknowledged.stat().st_size
            while acknowledged.stat().st_size == size and not os.waitpid(child, os.WNOHANG)[0]:
                select.select((), (), (), 0.001)
        select.select((), (), (), rng.uniform(0.0, 0.06))
        cut_ns = clock.monotonic_ns()
        if power is not None:
            power[0]()
        os.kill(child, signal.SIGKILL)
        _, code = os.waitpid(child, 0)
        if power is not None:  # a commit during the cut may have been told that it succeeded
            lines = acknowledged.read_text().splitlines(keepends=True)
            acknowledged.write_text(
                "".join(line for line in lines if int(line.split()[2]) <= cut_ns)
            )
            power[1]()
        # without power, its next commit fails
        if os.WIFEXITED(code) and (power is None or os.WEXITSTATUS(code) != _FAILED):
            raise SystemExit(f"a logger ended by itself, with {os.waitstatus_to_exitcode(code)}")
    count = max(_acknowledged(acknowledged).values(), default=0) + 200
    child = os.fork()
    if child == 0:
        _end(_log, out, acknowledged, rng, count)
    _, code = os.waitpid(child, 0)
    if code:
        raise SystemExit(f"the last logger ended with {os.waitstatus_to_exitcode(code)}")
    return count


def _end(function, *arguments):  # type: ignore[no-untyped-def]
    code = 1
    try:
        function(*arguments)
        code = 0
    except AffectEdgeError as error:
        sys.stderr.write(f"{error}\n")
        code = _FAILED
    except BaseException:  # noqa: BLE001 - a process of its own
        traceback.print_exc()
    finally:
        os._exit(code)


def _acknowledged(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        stream, seq, _ns = line.split()
        found[stream] = int(seq)
    return found


def _log(out: str, acknowledged: Path, rng: random.Random, count: int | None) -> None:
    """Log until killed, or until ``count`` messages of each stream are logged."""
    with opened_log(out) as log:
        following = dict.fromkeys(STREAMS, 0)
        for cursor in log.cursors():
            following[cursor.stream] = max(following[cursor.stream], cursor.seq + 1)
        for stream, seq in _acknowledged(acknowledged).items():
            assert following[stream] > seq, f"{seq} of {stream} was acknowledged"
        with acknowledged.open("a") as acknowledgements:
            while count is None or min(following.values()) < count:
                for _ in range(rng.randrange(1, _REST)):
                    stream = rng.choice(STREAMS)
                    if count is not None and following[stream] >= count:
                        continue
                    log.write(received(message(stream, following[stream])))
                    following[stream] += 1
                log.commit()
                now_ns = clock.monotonic_ns()
                lines = [f"{s} {after - 1} {now_ns}\n" for s, after in following.items() if after]
                os.write(acknowledgements.fileno(), "".join(lines).encode())
                if rng.random() < 0.05:
                    log.rotate()


def check_complete(out: str | Path, count: int) -> None:
    """Check that the first ``count`` messages of each stream are in the log, once, and no other."""
    found = logged(str(out))
    expected = {(stream, seq) for stream in STREAMS for seq in range(count)}
    assert expected - found.keys() == set(), "missing"
    assert {key: often for key, often in found.items() if often != 1 or key not in expected} == {}


if __name__ == "__main__":
    where = sys.argv[1]
    noted = Path(f"{where}.acknowledged")
    sys.stdout.write(f"{run_loop(where, int(sys.argv[2]), int(sys.argv[3]), noted)}\n")
