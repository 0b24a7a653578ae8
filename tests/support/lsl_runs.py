"""``affect-edge lsl`` and a recorder in a network of their own."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.namespaces import Network
from tests.support.waiting import HANG_S

ERROR_S = 0.001
"""Largest accepted difference of a time stamp from the log's."""

LIVE = ("--source", "/dev/video9", *PURPOSE, "--set", 'device.name="chamber-1"')
"""Arguments of a synthetic daemon with a camera."""


def of_daemon(daemon: RunningDaemon) -> tuple[str, ...]:
    """Return the options of a client that name the daemon."""
    return "--connect", daemon.endpoint, "--service", daemon.service


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open() as file:
        return list(csv.DictReader(file))


class Child:
    """A process whose lines are read; a context manager that kills it."""

    def __init__(self, *command: str, environment: dict[str, str], stream: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, stream: subprocess.PIPE}
        self.process = subprocess.Popen(
            command,
            **pipes,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        self.lines: list[str] = []
        self._pipe = getattr(self.process, stream)
        os.set_blocking(self._pipe.fileno(), False)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_for(self, wanted: Callable[[str], bool], timeout_s: float = HANG_S) -> str:
        """Return the first line, from the beginning on, for which ``wanted`` is true."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while time.monotonic() < deadline:
            has_ended = self.process.poll() is not None  # before: all that it wrote is read
            while line := self._pipe.readline():
                self.lines.append(line.rstrip("\n"))
            for line in self.lines[seen:]:
                if wanted(line):
                    return line
            seen = len(self.lines)
            if has_ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"the line never came: {self.lines}")

    def stop(self, timeout_s: float = HANG_S) -> int:
        """Ask it to stop; return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)


def relay(network: Network, *arguments: str, address: str = "127.0.0.1") -> Child:
    """Start ``affect-edge lsl``."""
    command = [*network.prefix, sys.executable, "-m", "edge", "lsl", "--interface", address]
    return Child(*command, *arguments, environment={}, stream="stderr")


class Recorder(Child):
    """Records streams of the network to an XDF file."""

    def __init__(self, network: Network, path: Path, streams: int, peer: str = "127.0.0.1") -> None:
        self.path = path
        configuration = path.with_suffix(".cfg")
        configuration.write_text(f"[multicast]\nInterfaces = {{{peer}}}\n[log]\nlevel = -3\n")
        command = [*network.prefix, sys.executable, "-m", "tests.support.lsl_recorder"]
        variables = {"LSLAPICFG": str(configuration)}
        super().__init__(*command, str(path), str(streams), environment=variables, stream="stdout")

    def wait_for_samples(self, count: int, timeout_s: float = HANG_S) -> None:
        """Wait until one stream has so many more samples than now."""
        before = self._most()
        self.wait_for(lambda line: line[:1].isdigit() and _most(line) >= before + count, timeout_s)

    def finish(self) -> dict[str, "Stream"]:
        """End the recording; return its streams by name, as pyxdf reads them."""
        self.process.stdin.close()
        self.process.stdin = None
        assert self.process.wait(HANG_S) == 0
        return read_xdf(self.path)

    def _most(self) -> int:
        return max((_most(line) for line in self.lines if line[:1].isdigit()), default=0)


def _most(line: str) -> int:
    return max(map(int, line.split()))


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of an XDF file.

    Attributes:
        info: its metadata, as pyxdf reads them.
        labels: of its channels.
        stamps: times of the samples, s.
        samples: their values; of markers their texts.
    """

    info: dict[str, Any]
    labels: list[str]
    stamps: list[float]
    samples: list[Any]

    def column(self, label: str) -> list[float]:
        """Return the values of a channel."""
        index = self.labels.index(label)
        return [sample[index] for sample in self.samples]

    def events(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """Return time and content of the JSON markers with that name."""
        pairs = zip(self.stamps, self.samples, strict=True)
        objects = [(at_s, json.loads(text)) for at_s, text in pairs if text.startswith("{")]
        return [(at_s, each) for at_s, each in objects if each["event"] == name]


def read_xdf(path: Path) -> dict[str, Stream]:
    """Read a file with pyxdf, which applies the clock offsets; streams by name."""
    import pyxdf

    streams, _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    found = {}
    for stream in streams:
        info = stream["info"]
        channels = info["desc"][0]["channels"][0]["channel"]
        samples = stream["time_series"]
        texts = [row[0] for row in samples] if isinstance(samples, list) else samples.tolist()
        found[info["name"][0]] = Stream(
            info, [each["label"][0] for each in channels], stream["time_stamps"].tolist(), texts
        )
    return found
