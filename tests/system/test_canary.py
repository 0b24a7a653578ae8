"""No pixel leaves memory: a pattern in every picture is searched in all that a run leaves."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from edge.vision.values import Luma
from tests.support.canary import (
    NEEDLES,
    PATTERN,
    forms_in,
    hits,
    is_in_memory,
    picture,
    write_folder,
)
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.left_files import content_of
from tests.support.waiting import HANG_S

DEBUG = """
import logging, sys
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
"""
"""Everything is logged, of libraries, too."""

REQUESTS = (
    {"request": "status"}, {"request": "schema"}, {"request": "time"},
    {"request": "mark", "text": "canary"}, {"request": "participant", "action": "assign",
     "track": 1, "participant": "P07"},
    {"request": "baseline", "action": "start", "participant": "P07"}, {"request": "nonsense"},
    {"request": "preview", "action": "open"}, {"request": "preview", "action": "picture"},
)  # fmt: skip


@pytest.fixture(scope="module")
def face() -> Luma:
    path = ROOT / "edge/vision/data/golden-face.png"
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("raw", lambda luma: luma.tobytes()),
        ("hex", lambda luma: luma.tobytes().hex().encode()),
        ("numbers with spaces", lambda luma: json.dumps(luma.tolist()).encode()),
        ("numbers", lambda luma: json.dumps(luma.tolist(), separators=(",", ":")).encode()),
        ("colour", lambda luma: cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR).tobytes()),
        ("floats", lambda luma: luma.astype(np.float32).tobytes()),
        ("raw", lambda luma: luma[5:9, 3:90].tobytes()),
    ],
)
def test_the_search_finds_a_picture_that_was_written(
    tmp_path: Path, face: Luma, form: str, written: object
) -> None:
    """A search that finds nothing would let the next test pass."""
    assert callable(written)
    (tmp_path / "leak").write_bytes(b"before" + written(picture(face, 3)) + b"after")
    ((_, forms),) = hits(tmp_path)
    assert form in forms


@pytest.mark.parametrize("shift", range(6))
def test_the_search_finds_base64_at_each_place(shift: int) -> None:
    content = base64.b64encode(bytes(shift) + PATTERN * 2)
    assert any(form.startswith("base64") for form in forms_in(content))
    assert forms_in(base64.b64encode(os.urandom(4096))) == []
    assert len(NEEDLES) == 12


def test_a_core_dump_would_be_found(tmp_path: Path) -> None:
    """The worker writes none; a process that does is found by the same search."""
    text = base64.b64encode(bytes(value ^ 255 for value in PATTERN)).decode()
    code = (
        "import base64, os, signal\n"
        f"kept = bytearray(value ^ 255 for value in base64.b64decode({text!r}))\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    shell = 'ulimit -c unlimited; exec "$@"'
    subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-c", code], cwd=tmp_path, check=False)
    if not list(tmp_path.glob("core*")):
        pytest.skip("the kernel writes core dumps elsewhere: /proc/sys/kernel/core_pattern")
    assert [forms for _, forms in hits(tmp_path)] == [["raw"]]


def crash_worker(daemon: RunningDaemon) -> None:
    """Let a working worker crash; on a busy machine it may be replaced for being slow, before."""
    reason = ""
    while reason != "died":
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGSEGV)
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        reason = lost["detail"]["reason"]


class Capture:
    """All bytes that the daemon sends on both sockets."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self._context = zmq.Context()
        self.bytes = bytearray()
        self._live = self._context.socket(zmq.SUB)
        self._live.subscribe(b"")
        self._live.connect(daemon.endpoint)
        self._service = self._context.socket(zmq.DEALER)
        self._service.connect(daemon.service)

    def ask_all(self) -> int:
        """Send each kind of request; return how many answers came."""
        for request in REQUESTS:
            self._service.send_multipart([b"", json.dumps(request).encode()])
        answers = 0
        while answers < len(REQUESTS) and self._service.poll(round(HANG_S * 1e3)):
            self.bytes += b"".join(self._service.recv_multipart())
            answers += 1
        return answers

    def read(self) -> None:
        while self._live.poll(0):
            self.bytes += b"".join(self._live.recv_multipart())

    def close(self) -> None:
        self._context.destroy(linger=0)


def test_no_pixel_leaves_memory(tmp_path: Path, face: Luma) -> None:
    """With debug logs, journal, loggers, requests and a crash of the worker without core limit."""
    pictures = write_folder(tmp_path / "pictures", face, 20)
    left = tmp_path / "left"
    for name in ("", "journal", "tmp", "home"):
        (left / name).mkdir()
    (left / "sitecustomize.py").write_text(DEBUG)
    environment = {
        "PYTHONPATH": f"{left}{os.pathsep}{ROOT}",
        "TMPDIR": str(left / "tmp"),
        "HOME": str(left / "home"),
        "XDG_CACHE_HOME": str(left / "home"),
    }
    shared = set(Path("/dev/shm").iterdir())
    # the hard limit is what a shell without limits has: a crash would write a core
    unlimited = ("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", sys.executable)
    arguments = (
        *("--source", str(pictures), "--set", "source.rate_hz=8", *PURPOSE),
        *("--set", "source.repeat=0"),  # until it is stopped
        *("--set", f'journal.path="{left}/journal"', "--wait-for-subscriber"),
    )
    loggers = []
    with RunningDaemon(
        left, *arguments, environment=environment, cwd=left, python=unlimited
    ) as daemon:
        for name in ("log.csv", "log.jsonl", "log.sqlite"):
            loggers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "edge", "log", "--connect", daemon.endpoint,
                     "--service", daemon.service, "--out", str(left / name),
                     "--name", name.replace(".", "-")],
                    stderr=subprocess.DEVNULL, env={**os.environ, **environment}, cwd=left,
                )
            )  # fmt: skip
        capture = Capture(daemon)
        try:
            found = daemon.wait_for(lambda m: m["kind"] == "frame" and m["faces"])
            assert found["frame"]["width"] > face.shape[1]
            assert capture.ask_all() == len(REQUESTS)
            if os.getuid() == 0:
                assert is_in_memory(daemon.worker_pid()), "the search would find nothing"
                assert not is_in_memory(daemon.process.pid), "pixels reached the hub"
            crash_worker(daemon)
            daemon.wait_for_frame()
            assert daemon.stop()[0] == 0
            capture.read()
        finally:
            capture.close()
            for logger in loggers:
                logger.send_signal(signal.SIGTERM)
            for logger in loggers:
                logger.wait(HANG_S)
        assert len(capture.bytes) > 10_000
        (left / "wire").write_bytes(capture.bytes)
    logs = [path for path in left.glob("log.*") if path.stat().st_size]
    assert {"log.csv", "log.jsonl", "log.sqlite"} <= {path.name for path in logs}
    assert "DEBUG" in daemon.stderr or "INFO" in daemon.stderr
    assert "Fatal Python error: Segmentation fault" in daemon.stderr, "it crashed, and says where"
    assert list(hits(left)) == []
    assert [path for path in left.rglob("*") if path.name.startswith("core")] == []
    assert [path for path in ROOT.glob("core*") if path.stat().st_mtime > time.time() - 300] == []
    found = {path: content_of(path) for path in set(Path("/dev/shm").iterdir()) - shared}
    assert [path for path, content in found.items() if forms_in(content)] == []
