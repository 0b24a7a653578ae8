"""A daemon in each state, stopped with SIGTERM at a random moment of it.

The stop is clean if it takes ``STOP_S`` at most and the exit code is 0, and if nothing that was
published is missing in the journal, whose last message is then ``epoch_ended``.
"""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.client.ask import ask
from edge.config import JournalConfig
from edge.errors import AffectEdgeError
from edge.hub.journal import Journal, Position
from edge.protocol.requests import FetchRequest
from edge.vision.values import Luma
from tests.faults.loop_device import LoopDevice
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.hooks import slow_commits
from tests.support.journals import append
from tests.support.mjpeg_camera import MjpegCamera
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import QuietTime, wait_until

STOP_S: Final = 5.0
BACKLOG: Final = 20_000
LIVE: Final = ("--source", "/dev/video0", *PURPOSE)


@dataclass
class Stopped:
    """How a stop went.

    Attributes:
        took_s: from the signal to the end of the process.
        messages: of its epoch, in the journal.
        is_stored_later: only the next start stored some, because the storage was slow or full.
    """

    took_s: float
    messages: int
    is_stored_later: bool


@dataclass
class Trial:
    """A daemon with a journal; its state decides the rest.

    Attributes:
        folder: short, for the sockets.
        delay_s: from the state to the signal.
        journal: folder of the journal.
        arguments: of the daemon.
        module: with which it is started: with or without the synthetic worker.
        environment: of the daemon.
    """

    folder: Path
    delay_s: float
    journal: Path = field(init=False)
    arguments: tuple[str, ...] = LIVE
    module: str = SYNTHETIC
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = self.folder / "journal"

    @property
    def tail(self) -> Path:
        """Folder of the tail."""
        return self.folder / "tail"

    @contextlib.contextmanager
    def running(self) -> Iterator[RunningDaemon]:
        """Run the daemon for a ``with`` block."""
        settings = {"journal.path": self.journal, "journal.tail": self.tail}
        words = [w for key, path in settings.items() for w in ("--set", f'{key}="{path}"')]
        with RunningDaemon(
            self.folder, *self.arguments, *words, module=self.module, environment=self.environment
        ) as daemon:
            yield daemon

    def stop(self, daemon: RunningDaemon, make_room: Callable[[], None] = lambda: None) -> Stopped:
        """Stop the daemon, and check that the stop is clean; ``make_room`` ends a full disk."""
        time.sleep(self.delay_s)
        assert daemon.process.poll() is None, daemon.stderr
        asked = QuietTime()
        code, took_s = daemon.stop(signal.SIGTERM)
        assert (code, "Traceback" in daemon.stderr) == (0, False), daemon.stderr
        assert asked.elapsed_s <= STOP_S, daemon.stderr
        make_room()
        is_stored_later = "the next start stores what is left" in daemon.stderr
        assert is_stored_later == any(self.tail.glob("tail-*")), daemon.stderr
        received = [message for message in daemon.messages if "seq" in message]
        found = self._stored()
        epoch = found[-1]["epoch"] if found else 0
        numbers = [each["seq"] for each in found if each["epoch"] == epoch]
        assert numbers == list(range(len(numbers)))
        if received or found:
            assert {(each["epoch"], each["seq"]) for each in received} <= {
                (epoch, number) for number in numbers
            }
            assert found[-1]["event"] == "epoch_ended", "the last message was not stored"
            assert found[-1]["detail"]["messages"] == len(numbers)
        return Stopped(took_s, len(numbers), is_stored_later)

    def _stored(self) -> list[dict[str, Any]]:
        """Return the messages that a new start finds, without those of the backlog."""
        opened = Journal(JournalConfig(path=str(self.journal), tail=str(self.tail)))
        try:
            assert opened.state() == ("ok", "")
            assert not opened.take_events()  # nothing is missing, nothing damaged
            found, after = [], Position(0, -1)
            while not (batch := opened.read(after, max_messages=500, max_bytes=1 << 20)).caught_up:
                assert batch.gap is None
                found += [json.loads(line) for line in batch.lines.split(b"\n") if line]
                after = batch.next
            found += [json.loads(line) for line in batch.lines.split(b"\n") if line]
            return [each for each in found if "filler" not in each]
        finally:
            opened.close()


def starting(trial: Trial, _: Path) -> Stopped:
    """The daemon handles signals, and has not published yet, or has just begun."""
    with trial.running() as daemon:
        wait_until(lambda: handles_sigterm(daemon))
        return trial.stop(daemon)


def replaying(trial: Trial, _: Path) -> Stopped:
    """The networks process a file as fast as possible."""
    trial.module = "edge"
    trial.arguments = ("--source", "demo", "--no-pace", "--set", "source.repeat=0")
    with trial.running() as daemon:
        daemon.wait_for_frame()
        return trial.stop(daemon)


def live(trial: Trial, _: Path) -> Stopped:
    """Thirty frames a second."""
    with trial.running() as daemon:
        daemon.wait_for_frame()
        return trial.stop(daemon)


def stalled(trial: Trial, _: Path) -> Stopped:
    """A network camera gives the same picture again and again."""
    trial.module = "edge"
    with MjpegCamera(picture) as camera:
        trial.arguments = ("--source", camera.url, *PURPOSE, "--set", "limits.stall_s=0.5")
        with trial.running() as daemon:
            daemon.wait_for_frame()
            camera.frozen.set()
            daemon.wait_for(lambda m: m.get("source_state") == "stalled")
            return trial.stop(daemon)


def absent(trial: Trial, _: Path) -> Stopped:
    """There is no camera."""
    trial.module = "edge"
    trial.arguments = ("--source", "rtsp://127.0.0.1:9/none", *PURPOSE)
    with trial.running() as daemon:
        daemon.wait_for(lambda m: m.get("source_state") == "absent")
        return trial.stop(daemon)


def committing(trial: Trial, _: Path) -> Stopped:
    """The journal's thread is in a commit, which takes ten times as long as the delay."""
    marker = trial.folder / "commits"
    seconds = 10 * trial.delay_s
    trial.environment = slow_commits(trial.folder, SYNTHETIC, seconds, marker)
    with trial.running() as daemon:
        daemon.wait_for_frame()
        wait_until(marker.exists)
        marker.unlink()
        wait_until(marker.exists)
        return trial.stop(daemon)


def fetching(trial: Trial, backlog: Path) -> Stopped:
    """A consumer fetches what was published while it was away."""
    shutil.copytree(backlog, trial.journal)
    with trial.running() as daemon:
        daemon.wait_for_frame()
        consumer = Consumer(daemon.service)
        wait_until(lambda: consumer.count)
        stopped = trial.stop(daemon)
        consumer.join()
    assert consumer.is_in_order
    return stopped


def storage_full(trial: Trial, _: Path) -> Stopped:
    """The disk is full, and messages are kept in memory and in the tail."""
    with LoopDevice(24) as disk:
        trial.journal, filler = disk.mount / "journal", disk.mount / "filler"
        with trial.running() as daemon:
            daemon.wait_for_frame()
            subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False, stderr=-3)
            daemon.wait_for(lambda m: m.get("event") == "journal_state")
            return trial.stop(daemon, filler.unlink)


STATES: Final[dict[str, Callable[[Trial, Path], Stopped]]] = {
    each.__name__: each
    for each in (
        *(starting, replaying, live, stalled),
        *(absent, committing, fetching, storage_full),
    )
}
DELAYS_S: Final = {"starting": 0.8, "committing": 0.06}
"""The longest delay after a state was reached; 0.5 s for the others."""


def stop_in(state: str, folder: Path, backlog: Path, choose: random.Random) -> Stopped:
    """Bring a daemon into a state, stop it at a random moment, and check the stop.

    Args:
        state: of ``STATES``; ``storage_full`` needs root.
        folder: for all files of this trial; its name is in those of the sockets.
        backlog: a journal's folder, from ``make_backlog``.
        choose: gives the moment.
    """
    return STATES[state](Trial(folder, choose.uniform(0, DELAYS_S.get(state, 0.5))), backlog)


def make_backlog(folder: Path) -> Path:
    """Return the folder of a journal with ``BACKLOG`` messages."""
    journal = Journal(JournalConfig(path=str(folder / "backlog"), tail=str(folder / "tail")))
    for _ in range(BACKLOG):
        append(journal)
    wait_until(lambda: not journal.status().pending)
    journal.close()
    return folder / "backlog"


class Consumer(threading.Thread):
    """Fetches page after page until the daemon is gone.

    Attributes:
        count: of messages.
        is_in_order: whether each page followed the one before, without a gap.
    """

    def __init__(self, service: str) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.count = 0
        self.is_in_order = True
        self.start()

    def run(self) -> None:
        """Fetch."""
        newest = (0, -1)
        request = FetchRequest(name="consumer")
        while True:
            try:
                reply = ask(self._service, request, 1.0)
            except AffectEdgeError:
                return
            positions = [(each["epoch"], each["seq"]) for each in reply["messages"]]
            expected = [(epoch, newest[1] + 1 + n) for n, (epoch, _) in enumerate(positions)]
            if positions and positions[0][0] != newest[0]:
                expected = [(epoch, n) for n, (epoch, _) in enumerate(positions)]
            self.is_in_order &= positions == expected and reply["gap"] is None
            self.count += len(positions)
            newest = positions[-1] if positions else newest
            request = FetchRequest(
                name="consumer", stream=reply["stream"], **reply["next"], wait_s=0.5
            )


def picture(number: int) -> Luma:
    """Return bright and dark stripes with the noise of a sensor, which depends on the number."""
    stripes = np.where(np.arange(320) // 40 % 2, 60, 180)
    noise = np.random.default_rng(number).integers(-8, 9, (240, 320))
    return (stripes + noise).astype(np.uint8)


def handles_sigterm(daemon: RunningDaemon) -> bool:
    """Return whether the process handles SIGTERM; before, the signal ends it."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    caught = int(status.partition("SigCgt:\t")[2][:16], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
