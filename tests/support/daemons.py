"""A real daemon in a process of its own, and a plain subscriber that keeps what it publishes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

ROOT = Path(__file__).resolve().parents[2]
PURPOSE = ["--set", 'device.purpose="research-consent"']

Message = dict[str, Any]


class RunningDaemon:
    """``affect-edge run`` with its messages; a context manager that leaves nothing running."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        topic: str = "affect.v1.",
        metrics: bool = False,
        high_water: int = 0,
        cwd: Path = ROOT,
    ) -> None:
        self.endpoint = f"ipc://{folder}/live"
        self.service = f"ipc://{folder}/service"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, high_water)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        self._socket.connect(self.endpoint)
        self.messages: list[Message] = []
        self.stderr_path = folder / "stderr"
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "edge", "run", *arguments),
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
        """What the daemon wrote so far."""
        return self.stderr_path.read_text()

    @property
    def frames(self) -> list[Message]:
        """The frame messages so far."""
        return [message for message in self.messages if message["kind"] == "frame"]

    def events(self, name: str) -> list[Message]:
        """The events of that name so far."""
        return [m for m in self.messages if m["kind"] == "event" and m["event"] == name]

    def subscribe(self, topic: str) -> None:
        """Hear messages of ``topic``, too."""
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None when there was none in time."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return None
        message: Message = json.loads(self._socket.recv().partition(b" ")[2])
        message["received_ns"] = time.monotonic_ns()
        self.messages.append(message)
        return message

    def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float = 30.0) -> Message:
        """Return the first message from now on that is ``wanted``; fail when none comes."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            message = self.receive(min(left_s, 0.5))
            if message is not None and wanted(message):
                return message
            if message is None and self.process.poll() is not None:
                break
        raise AssertionError(
            f"the message never came; exit code {self.process.poll()},"
            f" last messages {self.messages[-3:]}, stderr: {self.stderr[-2000:]}"
        )

    def wait_for_frame(self, timeout_s: float = 30.0) -> Message:
        """Return the next frame message."""
        return self.wait_for(lambda message: message["kind"] == "frame", timeout_s)

    def run_to_end(self, timeout_s: float = 60.0) -> int:
        """Read until the epoch ended; return the exit code."""
        self.wait_for(lambda message: message.get("event") == "epoch_ended", timeout_s)
        return self.process.wait(10)

    def worker_pid(self) -> int:
        """Return the process id of the present worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal; return exit code and seconds until the process was gone."""
        begun = time.monotonic()
        self.process.send_signal(number)
        deadline = begun + 15
        while self.process.poll() is None and time.monotonic() < deadline:
            self.receive(0.02)
        return self.process.wait(1), time.monotonic() - begun


def affect_edge(
    *arguments: str, timeout_s: float = 60.0, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
        # a port that others may want: who asks for one says so with --set
        env={**os.environ, "AFFECT_EDGE__PUBLISH__SERVICE_ENDPOINT": "", **(environment or {})},
        check=False,
    )
