"""A daemon that knows everything that its metrics can show: a board with sensors, and a logger."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge.client.ask import ask
from edge.protocol.requests import FetchRequest
from tests.support.daemons import PURPOSE, Message, RunningDaemon
from tests.support.ports import free_port

TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
SWAPS = "proc/swaps"


def write(root: Path, name: str, text: str) -> None:
    """Write one of the kernel's files below ``root``."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@contextlib.contextmanager
def knowing_daemon(folder: Path, *more: str) -> Iterator[tuple[RunningDaemon, int, Path]]:
    """Run the demo for ever; yield the daemon, the port of its metrics, and its board's folder.

    A logger, ``lab``, has acknowledged a message.
    """
    board, port = folder / "board", free_port()
    write(board, TEMPERATURE, "61000\n")
    write(board, THROTTLED, "0x0\n")
    write(board, SWAPS, "Filename\tType\tSize\tUsed\tPriority\n")
    with RunningDaemon(
        folder,
        *("--source", "demo", "--set", "source.repeat=0", *PURPOSE),
        *("--set", f'journal.path="{folder / "journal"}"'),
        *("--set", f"limits.board_root='{board}'"),
        *("--set", f'metrics.address="127.0.0.1:{port}"'),
        *more,
        metrics=True,
    ) as daemon:
        frame = daemon.wait_for_frame()
        at = {key: frame[key] for key in ("stream", "epoch", "seq")}
        ask(daemon.service, FetchRequest(name="lab", max=0, **at))
        for _ in range(2):  # a status follows the values of its metrics
            daemon.wait_for(_knows_all)
        yield daemon, port, board


def _knows_all(message: Message) -> bool:
    return message["kind"] == "status" and bool(
        message["journal"]["consumers"]
        and message["worker_rss_mb"]
        and message["swap"]
        and message["source_state"] == "running"
        and message["frames_published"] > 10
    )
