"""The operator's page in a process of its own, and what a browser would get of it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.daemons import ROOT
from tests.support.waiting import HANG_S

JSON = {"content-type": "application/json"}


class RunningDashboard:
    """``affect-edge dashboard`` on a free port; a context manager that ends the process."""

    def __init__(self, folder: Path, *arguments: str, bind: str = "127.0.0.1:0") -> None:
        self.stderr_path = folder / "dashboard-stderr"
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "dashboard", "--bind", bind, *arguments],
                stderr=stderr,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.port = 0

    def __enter__(self) -> "RunningDashboard":
        deadline = time.monotonic() + HANG_S
        while "/\n" not in self.stderr:
            assert self.process.poll() is None, self.stderr
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.02)
        url = next(word for word in self.stderr.split() if word.startswith("http"))
        self.port = int(url.rstrip("/").rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def stderr(self) -> str:
        """What it has written to standard error."""
        return self.stderr_path.read_text()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def origin(self) -> dict[str, str]:
        """Headers of a request by the page itself."""
        return {**JSON, "origin": f"http://127.0.0.1:{self.port}"}

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a response."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_S)
        with contextlib.closing(connection):
            connection.request(method, path, content, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()

    def command(self, chamber: str, **request: object) -> tuple[int, dict[str, Any]]:
        """Press a button; return the status and the reply."""
        body = {"chamber": chamber, "request": request}
        status, _, reply = self.request("POST", "/api/command", body, self.origin)
        return status, json.loads(reply)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(HANG_S)


class Viewer:
    """The updates that a page gets, and the state that it makes of them."""

    def __init__(
        self, port: int, headers: Mapping[str, str] | None = None, timeout_s: float = HANG_S
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._connection.request("GET", "/api/stream", headers=dict(headers or {}))
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.last_id = ""
        self.chambers: dict[str, Any] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.points: list[list[Any]] = []
        self.unknown: dict[str, str] = {}

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._response.close()
        self._connection.close()

    def updates(self) -> Iterator[dict[str, Any]]:
        """Yield each update, after it was applied."""
        while line := self._response.readline():
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "data":
                update = json.loads(value)
                self._apply(update)
                yield update

    def _apply(self, update: dict[str, Any]) -> None:
        if update["whole"]:
            self.chambers, self.cards, self.events = {}, {}, []
        for name, key in update.get("removed", ()):
            if key:
                self.cards.get(name, {}).pop(key, None)
            else:
                self.chambers.pop(name, None)
        self.chambers |= update.get("chambers", {})
        for name, cards in update.get("cards", {}).items():
            self.cards.setdefault(name, {}).update(cards)
        self.events += update.get("events", ())
        self.points += update.get("points", ())
        self.unknown = update.get("unknown", self.unknown)

    def wait_for(self, condition: Any, timeout_s: float = HANG_S) -> Any:
        """Take updates until ``condition(self)`` is true; return what it returned."""
        deadline = time.monotonic() + timeout_s
        if found := condition(self):
            return found
        for _ in self.updates():
            if found := condition(self):
                return found
            assert time.monotonic() < deadline, (self.chambers, self.cards, self.events[-5:])
        raise AssertionError("the server ended the stream")
