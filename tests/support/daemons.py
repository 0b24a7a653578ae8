"""A real daemon in a child process, and a plain subscriber that keeps its messages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from edge.client.keys import Keys, apply_client_keys
from tests.support.waiting import HANG_S

ROOT = Path(__file__).resolve().parents[2]
PURPOSE = ["--set", 'device.purpose="research-consent"']

Message = dict[str, Any]


def resident_mb(process: int) -> float:
    """Return the resident memory of a process, MB."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


class RunningDaemon:
    """``affect-edge run`` and its messages; a context manager that ends the process."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        topic: str = "affect.v1.",
        metrics: bool = False,
        high_water: int = 0,
        cwd: Path = ROOT,
        python: Sequence[str] = (sys.executable,),
        ports: tuple[int, int] | None = None,
        module: str = "edge",
        keys: Keys | None = None,
    ) -> None:
        self.endpoint = f"ipc://{folder}/live"
        self.service = f"ipc://{folder}/service"
        if ports is not None:
            self.endpoint, self.service = (f"tcp://127.0.0.1:{port}" for port in ports)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, high_water)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        apply_client_keys(self._socket, keys)
        self._socket.connect(self.endpoint)
        self.messages: list[Message] = []
        self.stderr_path = folder / "stderr"
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    *(*python, "-P", "-m", module, "run", *arguments),
                    *("--set", f'publish.endpoint="{self.endpoint}"'),
                    *("--set", f'publish.service_endpoint="{self.service}"'),
                    *(() if metrics else ("--set", 'metrics.address=""')),
                ],
                stderr=stderr,
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            )

    def __enter__(self) -> "RunningDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._context.destroy(linger=0)

    @property
    def stderr(self) -> str:
        """What the daemon has written to standard error so far."""
        return self.stderr_path.read_text()

    @property
    def frames(self) -> list[Message]:
        """The frame messages received so far."""
        return [message for message in self.messages if message["kind"] == "frame"]

    def events(self, name: str) -> list[Message]:
        """Return the events of that name received so far."""
        return [m for m in self.messages if m["kind"] == "event" and m["event"] == name]

    def subscribe(self, topic: str) -> None:
        """Subscribe to ``topic``, too."""
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None if none arrives in time."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return None
        message: Message = json.loads(self._socket.recv().partition(b" ")[2])
        message["received_ns"] = time.monotonic_ns()
        self.messages.append(message)
        return message

    def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float = HANG_S) -> Message:
        """Return the next message for which ``wanted`` is true; fail if none comes."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            has_ended = self.process.poll() is not None  # before: all that it sent is read
            message = self.receive(min(left_s, 0.5))
            if message is not None and wanted(message):
                return message
            if message is None and has_ended:
                break
        raise AssertionError(
            f"the message never came; exit code {self.process.poll()},"
            f" last messages {self.messages[-3:]}, stderr: {self.stderr[-2000:]}"
        )

    def wait_for_frame(self, timeout_s: float = HANG_S) -> Message:
        """Return the next frame message."""
        return self.wait_for(lambda message: message["kind"] == "frame", timeout_s)

    def run_to_end(self, timeout_s: float = 2 * HANG_S) -> int:
        """Receive until the epoch ends; return the exit code."""
        self.wait_for(lambda message: message.get("event") == "epoch_ended", timeout_s)
        return self.process.wait(HANG_S)

    def resident_mb(self) -> float:
        """Return the resident memory of the hub, MB."""
        return resident_mb(self.process.pid)

    def worker_pid(self) -> int:
        """Return the process id of the current worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal, and read on to ``epoch_ended`` if events are received.

        Returns:
            The exit code, and the seconds until the process ended.
        """
        started = time.monotonic()
        self.process.send_signal(number)
        while self.process.poll() is None and time.monotonic() - started < HANG_S:
            self.receive(0.02)
        code, took_s = self.process.wait(1), time.monotonic() - started
        receives_events = any(message["kind"] == "event" for message in self.messages)
        while self.receive(5.0 if receives_events and not self.events("epoch_ended") else 0.02):
            pass  # what was sent just before the end
        return code, took_s


def affect_edge(
    *arguments: str, timeout_s: float = 2 * HANG_S, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
        # no service port by default: tests run in parallel; use --set for one
        env={**os.environ, "AFFECT_EDGE__PUBLISH__SERVICE_ENDPOINT": "", **(environment or {})},
        check=False,
    )
