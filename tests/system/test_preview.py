"""The preview of a real daemon: recorded, in memory only, and gone when it is closed."""

import base64
import contextlib
import os
import signal
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.client.ask import ask
from edge.errors import RequestRefused
from edge.protocol.requests import PreviewRequest
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_until


def daemon_with(folder: Path, *more: str) -> RunningDaemon:
    return RunningDaemon(
        folder,
        *("--source", "demo", "--set", "source.repeat=0", *PURPOSE),
        *("--set", f'journal.path="{folder / "journal"}"', *more),
        metrics=True,
    )


def picture(daemon: RunningDaemon) -> dict[str, Any]:
    """Return the newest picture, as soon as there is one."""
    found: list[dict[str, Any]] = []

    def come() -> bool:
        daemon.receive(0.05)
        with contextlib.suppress(RequestRefused):  # none has come yet
            found.append(ask(daemon.service, PreviewRequest(action="picture")))
        return bool(found)

    wait_until(come)
    return found[0]


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as answer:
        return str(answer.read().decode())


def test_pictures_are_shown_recorded_and_kept_nowhere(tmp_path: Path) -> None:
    port = free_port()
    enabled = ("--set", "preview.enabled=true", "--set", f'metrics.address="127.0.0.1:{port}"')
    with daemon_with(tmp_path, *enabled) as daemon:
        daemon.wait_for_frame()
        with pytest.raises(RequestRefused, match="open it first"):
            ask(daemon.service, PreviewRequest(action="picture"))
        ask(daemon.service, PreviewRequest(action="open"))
        opened = daemon.wait_for(lambda message: message.get("event") == "preview_opened")
        assert opened["detail"] == {"minutes": 5.0, "width_px": 320}
        shown = picture(daemon)
        jpeg = base64.b64decode(shown["jpeg"])
        luma = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
        assert luma is not None
        assert luma.shape == (shown["height"], shown["width"]) == (180, 320)
        assert luma.std() > 2  # the clip, which has dark stretches, not a grey area
        status = daemon.wait_for(lambda message: message["kind"] == "status")
        assert 200 < status["preview_s"] <= 300
        assert "affect_edge_preview_on 1.0" in scraped(port)
        worker = daemon.worker_pid()  # the next worker is told, too
        os.kill(worker, signal.SIGKILL)
        daemon.wait_for(lambda message: message.get("event") == "worker_lost")
        daemon.wait_for_frame()
        before = picture(daemon)["index"]
        wait_until(lambda: picture(daemon)["index"] > before)
        ask(daemon.service, PreviewRequest(action="close"))
        closed = daemon.wait_for(lambda message: message.get("event") == "preview_closed")
        assert closed["detail"]["reason"] == "requested"
        assert closed["detail"]["pictures"] >= 2
        status = daemon.wait_for(lambda message: message["kind"] == "status")
        assert status["preview_s"] is None
        with pytest.raises(RequestRefused, match="open it first"):
            ask(daemon.service, PreviewRequest(action="picture"))
        assert daemon.stop()[0] == 0
        part = shown["jpeg"][200:260]
        assert part not in str(daemon.messages)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert jpeg[100:140] not in content, path
            assert part.encode() not in content, path
    with sqlite3.connect(f"file:{tmp_path}/journal/journal.sqlite?mode=ro", uri=True) as journal:
        assert journal.execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_it_expires_and_is_closed_by_a_stop(tmp_path: Path) -> None:
    enabled = ("--set", "preview.enabled=true", "--set", "preview.minutes=0.03")
    with daemon_with(tmp_path, *enabled, "--set", 'metrics.address=""') as daemon:
        daemon.wait_for_frame()
        ask(daemon.service, PreviewRequest(action="open"))
        closed = daemon.wait_for(lambda message: message.get("event") == "preview_closed")
        assert closed["detail"]["reason"] == "expired"
        ask(daemon.service, PreviewRequest(action="open"))
        assert daemon.stop()[0] == 0
        names = [message["event"] for message in daemon.messages if message["kind"] == "event"]
        assert names[-2:] == ["preview_closed", "epoch_ended"]


def test_it_is_refused_by_default(tmp_path: Path) -> None:
    with daemon_with(tmp_path, "--set", 'metrics.address=""') as daemon:
        daemon.wait_for_frame()
        with pytest.raises(RequestRefused, match=r"preview\.enabled = true"):
            ask(daemon.service, PreviewRequest(action="open"))
        assert daemon.events("preview_opened") == []
