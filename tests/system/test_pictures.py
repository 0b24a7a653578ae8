"""Cameras and files that show nothing, or always the same, seen through the whole daemon."""

import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.sources.decode import open_capture
from edge.vision.sources.video import DEMO_CLIP
from edge.vision.values import Luma
from tests.support.daemons import PURPOSE, Message, RunningDaemon
from tests.support.mjpeg_camera import MjpegCamera
from tests.support.ports import free_port
from tests.support.source_media import address, ffmpeg, served
from tests.support.waiting import HANG_S, QuietTime

SIZE = (640, 360)


@pytest.fixture(scope="module")
def face() -> Luma:
    capture = open_capture(str(DEMO_CLIP), cv2.CAP_FFMPEG)
    assert capture.grab()
    grey = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY)
    capture.release()
    return np.asarray(cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA))


def noisy(luma: Luma, seed: int, sigma: float = 3.0) -> Luma:
    noise = np.random.default_rng(seed).normal(0, sigma, luma.shape)
    made: Luma = np.clip(np.rint(luma + noise), 0, 255).astype(np.uint8)
    return made


def pictures_are(state: str) -> Callable[[Message], bool]:
    return lambda m: m.get("event") == "picture_state" and m["detail"]["state"] == state


def source_is(state: str) -> Callable[[Message], bool]:
    return lambda m: m.get("event") == "source_state" and m["detail"]["state"] == state


def next_status(daemon: RunningDaemon) -> Message:
    return daemon.wait_for(lambda m: m["kind"] == "status")


def metrics(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as page:
        return [str(line) for line in page.read().decode().splitlines()]


def with_metrics(port: int) -> tuple[str, str]:
    return ("--set", f'metrics.address="127.0.0.1:{port}"')


def test_frozen_network_camera_is_stalled_until_its_picture_changes(
    tmp_path: Path, face: Luma
) -> None:
    """It was read as live, with new times and equal boxes, and with excellent health."""
    port = free_port()
    with (
        MjpegCamera(lambda number: noisy(face, number)) as camera,
        RunningDaemon(
            tmp_path, "--source", camera.url, *PURPOSE, *with_metrics(port), metrics=True
        ) as daemon,
    ):
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["faces"])
        assert next_status(daemon)["picture_state"] == "normal"
        camera.frozen.set()
        since = QuietTime()
        frozen = daemon.wait_for(pictures_are("frozen"))
        assert since.elapsed_s < 10
        daemon.wait_for(source_is("stalled"))
        before = len(daemon.frames)
        status = next_status(daemon)
        assert (status["source_state"], status["picture_state"]) == ("stalled", "frozen")
        assert status["health"]["grade"] == "unusable"
        assert {"source_stalled", "picture_frozen"} <= set(status["health"]["reasons"])
        assert 'affect_edge_picture_state{state="frozen"} 1.0' in metrics(port)
        while camera.connections < 3:
            next_status(daemon)
        assert len(daemon.frames) == before
        camera.frozen.clear()
        daemon.wait_for(pictures_are("normal"))
        daemon.wait_for(source_is("running"))
        assert daemon.wait_for_frame()["frame"]["index"] > frozen["detail"]["index"]
        assert "picture_frozen" not in next_status(daemon)["health"]["reasons"]
        assert 'affect_edge_picture_state{state="frozen"} 0.0' in metrics(port)
        states = [event["detail"]["state"] for event in daemon.events("source_state")]
        assert states == ["running", "stalled", "running"]
        assert daemon.events("worker_lost") == []


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frozen_camera_behind_a_video_encoder(tmp_path: Path, face: Luma, codec: str) -> None:
    """The encoder makes several pictures of one, none of them equal to the one before."""
    assert cv2.imwrite(str(tmp_path / "still.png"), face)
    video, port = tmp_path / "still.ts", free_port()
    quiet = ("-x265-params", "log-level=none") if codec == "libx265" else ()
    ffmpeg("-loop", "1", "-framerate", "25", "-i", tmp_path / "still.png", "-t", "12",
           "-c:v", codec, "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
           "-g", "12", *quiet, video)  # fmt: skip
    with (
        served(video, port),
        RunningDaemon(tmp_path, "--source", address(port), *PURPOSE) as daemon,
    ):
        daemon.wait_for_frame()
        since = QuietTime()
        daemon.wait_for(pictures_are("frozen"))
        assert since.elapsed_s < 10
        daemon.wait_for(source_is("stalled"))


@pytest.mark.parametrize(("level", "state"), [(4, "dark"), (140, "flat"), (255, "flat")])
def test_camera_that_shows_nothing_is_poor_and_goes_on(
    tmp_path: Path, face: Luma, level: int, state: str
) -> None:
    """Its health was excellent; a lens cover, a lamp that is off, a sheet of paper do so."""
    port = free_port()
    uniform = np.full_like(face, level)
    covered = threading.Event()
    with (
        MjpegCamera(lambda number: noisy(uniform if covered.is_set() else face, number)) as camera,
        RunningDaemon(
            tmp_path, "--source", camera.url, *PURPOSE, *with_metrics(port), metrics=True
        ) as daemon,
    ):
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["faces"])
        covered.set()
        since = QuietTime()
        found = daemon.wait_for(pictures_are(state))
        assert "check" in found["detail"]["reason"]
        status = next_status(daemon)
        assert since.elapsed_s < 10
        assert (status["source_state"], status["picture_state"]) == ("running", state)
        assert status["health"]["grade"] == "poor"
        assert f"picture_{state}" in status["health"]["reasons"]
        assert f'affect_edge_picture_state{{state="{state}"}} 1.0' in metrics(port)
        assert f"WARNING: picture {state}" in daemon.stderr
        daemon.wait_for_frame()
        covered.clear()
        daemon.wait_for(pictures_are("normal"))
        status = next_status(daemon)
        assert f"picture_{state}" not in status["health"]["reasons"]
        assert status["picture_state"] == "normal"
        assert camera.connections == 1


def test_still_file_is_reported_and_read_to_its_end(tmp_path: Path, face: Luma) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(40):
        assert cv2.imwrite(str(folder / f"{number:02}.png"), face)
    arguments = ("--source", str(folder), "--set", "source.rate_hz=10", "--wait-for-subscriber")
    with RunningDaemon(tmp_path, *arguments, *PURPOSE) as daemon:
        daemon.wait_for(pictures_are("still"))
        status = next_status(daemon)
        assert status["health"] == {"grade": "fair", "reasons": ["picture_still"]}
        assert daemon.run_to_end() == 0
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert ended["frames"] + ended["dropped"] == 40  # a busy machine drops some
        assert len(daemon.events("picture_state")) == 1
        assert [e["detail"]["state"] for e in daemon.events("source_state")] == ["running"]
