"""A full disk: the logger waits, loses nothing, and goes on when there is space."""

import os
import subprocess

import pytest

from edge.client.logs import opened_log
from edge.client.logs.rotation import Rotation
from edge.errors import LogUnavailable
from edge.tools import log_writer
from edge.tools.log import run_log
from edge.tools.log_writer import LogWriter
from tests.support.kill_loop import STREAMS, message
from tests.support.logged import logged
from tests.support.logs import received

NAMES = ["log.sqlite", "log.csv", "log.jsonl", "log.parquet"]


@pytest.fixture
def disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk):
    """Use all space; removing the file frees it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass
    return filler


@pytest.mark.parametrize("name", NAMES)
def test_the_logger_waits_for_space_and_loses_nothing(disk, monkeypatch, name):
    monkeypatch.setattr(log_writer, "_RETRY_S", 0.01)
    monkeypatch.setattr(log_writer, "_REMIND_MS", 0.0)
    out, reports, waits = disk / name, [], []
    fillers = []

    def stop():
        waits.append(1)
        if len(waits) % 3 == 0:
            fillers.pop().unlink()
        return False

    with opened_log(out, reports.append) as log:
        log.cursors()
        writer = LogWriter(
            log, Rotation(), committed=lambda: None, stop=stop, report=reports.append
        )
        seq = 0
        for step in range(4):
            for _ in range(80):
                for stream in STREAMS:
                    writer.write(received(message(stream, seq)))
                seq += 1
            if step:
                fillers.append(fill(disk))
            if step == 2:
                writer.rotate()
            writer.commit()
            for filler in fillers:  # the commit had room in what the files already hold
                filler.unlink()
            fillers.clear()
    assert waits
    assert any("waiting" in line for line in reports)
    assert any("written again after" in line for line in reports)
    expected = {(stream, number) for stream in STREAMS for number in range(seq)}
    assert dict.fromkeys(expected, 1) == dict(logged(str(out)))


@pytest.mark.parametrize("name", NAMES)
def test_a_logger_that_is_stopped_while_it_waits_leaves_what_was_committed(disk, name):
    out = disk / name

    def write(first, count, stop):
        with opened_log(out) as log:
            cursors = log.cursors()
            writer = LogWriter(
                log, Rotation(), committed=lambda: None, stop=lambda: stop, report=lambda _: None
            )
            for seq in range(first, first + count):
                for stream in STREAMS:
                    writer.write(received(message(stream, seq)))
            writer.commit()
        return {cursor.stream: cursor.seq for cursor in cursors}

    write(0, 50, stop=False)
    filler = fill(disk)
    with pytest.raises(LogUnavailable, match="make room"):
        write(50, 500, stop=True)
    filler.unlink()
    assert not list(disk.rglob("*.new"))
    assert write(50, 10, stop=False) == dict.fromkeys(STREAMS, 49)
    assert len(logged(str(out))) == 120


@pytest.mark.parametrize("name", ["log.sqlite", "log.csv", "log.parquet"])
def test_a_logger_that_starts_on_a_full_disk_waits(disk, monkeypatch, name):
    monkeypatch.setattr(log_writer, "_RETRY_S", 0.01)
    filler, reports, calls = fill(disk), [], []

    def stop():
        calls.append(1)
        if len(calls) == 2:
            filler.unlink()
        return len(calls) > 3

    endpoint = f"ipc://{disk.parent}/pub"
    run_log([endpoint], disk / name, stop=stop, report=reports.append)
    waits = [line for line in reports if ": writing " not in line]
    assert "make room; waiting" in waits[0]
    assert "written again after" in waits[1]
    assert not filler.exists()
