"""The memory lock against swap, in real processes, with and without the right to lock."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import ROOT, RunningDaemon
from tests.support.waiting import HANG_S

DEMO = ("--source", "demo", "--set", "source.repeat=0")

# allocates a picture as the pipeline does, and prints how its memory is mapped
HOLD_A_FRAME = """
import json, re, sys
from edge.worker.memlock import lock_memory
refused = lock_memory()
import numpy as np
frame = np.full((720, 1280), 7, np.uint8)
allocated = []
import threading
thread = threading.Thread(target=lambda: allocated.append(bytearray(64 << 20)))
thread.start(); thread.join()
at = frame.__array_interface__["data"][0]
flags = locked_kb = None
inside = False
for line in open("/proc/self/smaps"):
    if edges := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
        inside = int(edges[1], 16) <= at < int(edges[2], 16)
    elif inside and line.startswith("Locked:"):
        locked_kb = int(line.split()[1])
    elif inside and line.startswith("VmFlags:"):
        flags = line.split()[1:]
status = open("/proc/self/status").read()
print(json.dumps({
    "refused": refused, "locked_kb": locked_kb, "flags": flags, "allocated": len(allocated),
    "vmlck_kb": int(re.search(r"VmLck:\\s+(\\d+)", status)[1]),
}))
"""
# frees memory below a block that stays, as loading a network that is not chosen does
FREE_BELOW = """
import ctypes
from edge.board import rss_mb
from edge.worker.memlock import return_free_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(64 << 10) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 64 << 10)
for block in blocks[:-1]:
    libc.free(block)
before = rss_mb()
return_free_memory()
print(before - rss_mb())
"""
# for processes of root: drops the rights to lock more than the limit and to raise it
WITHOUT_RIGHTS = """
import ctypes, os, resource, sys
libc = ctypes.CDLL(None)
limit = int(sys.argv[1])
try:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
except ValueError:
    pass  # the limit here is lower already
for capability in (14, 24):  # CAP_IPC_LOCK, CAP_SYS_RESOURCE
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def can_lock() -> bool:
    done = subprocess.run(
        [sys.executable, "-c", "from edge.worker.memlock import lock_memory; print(lock_memory())"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    return done.stdout == "\n"


needs_the_right = pytest.mark.skipif(
    not can_lock(), reason="this user may lock little memory (ulimit -l)"
)


@needs_the_right
def test_a_picture_is_locked_in_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLD_A_FRAME], capture_output=True, text=True, cwd=ROOT, check=True
    )
    mapping = json.loads(done.stdout)
    assert mapping["refused"] == ""
    assert "lo" in mapping["flags"]  # the mapping is locked
    assert mapping["locked_kb"] >= 1280 * 720 / 1024  # and these pages are in memory
    assert mapping["allocated"] == 1  # threads started later can allocate


@needs_the_right
def test_the_worker_locks_its_memory_and_reports_it(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        status = Path(f"/proc/{daemon.worker_pid()}/status").read_text()
        locked_kb, size_kb, resident_kb = (
            int(re.search(rf"{name}:\s+(\d+) kB", status)[1])  # type: ignore[index]
            for name in ("VmLck", "VmSize", "VmRSS")
        )
        assert resident_kb < locked_kb <= size_kb
        message = daemon.wait_for(
            lambda m: m["kind"] == "status" and m["memory_locked"] is not None
        )
        assert message["memory_locked"] is True
        assert message["swap"] in ("off", "prevented")
        hub = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert re.search(r"VmLck:\s+0 kB", hub)  # it holds no picture
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("limit_kb", [0, 64, 8 << 10, 1 << 20])
def test_without_the_right_to_lock_nothing_is_locked_and_nothing_fails(limit_kb: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, str(limit_kb << 10), "-c", HOLD_A_FRAME],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    mapping = json.loads(done.stdout)
    assert "limit of locked memory is" in mapping["refused"]
    assert "lo" not in mapping["flags"]
    assert (mapping["vmlck_kb"], mapping["allocated"]) == (0, 1)


def test_a_daemon_without_the_right_to_lock_works_and_reports_it(tmp_path: Path) -> None:
    """It runs to the end of the clip; an event reports that its memory is not locked."""
    config = tmp_path / "edge.toml"
    config.write_text(
        f'[publish]\nendpoint = "ipc://{tmp_path}/live"\nservice_endpoint = ""\n'
        '[metrics]\naddress = ""\n'
    )
    messages = tmp_path / "log.jsonl"
    log = subprocess.Popen(
        [
            *(sys.executable, "-m", "edge", "log", "--connect", f"ipc://{tmp_path}/live"),
            *("--out", str(messages)),
        ],
        cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-c", WITHOUT_RIGHTS, str(8 << 20), "-m", "edge", "run"),
                *("-c", config, "--no-pace", "--wait-for-subscriber"),
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        log.terminate()
        log.wait(HANG_S)
    assert done.returncode == 0, done.stderr
    logged = [json.loads(line) for line in messages.read_text().splitlines()]
    (started,) = (m for m in logged if m.get("event") == "worker_started")
    assert started["detail"]["memory_locked"] is False
    assert sum(m["kind"] == "frame" for m in logged) > 100


def test_freed_memory_is_returned_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREE_BELOW], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 50
