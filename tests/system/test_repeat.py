"""``source.repeat``: a file is read several times, as one source that goes on."""

import os
import signal
from pathlib import Path

import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.source_media import ffmpeg

FRAMES = 20


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a clip with a face in every picture, 25 a second."""
    path = tmp_path / "short.mkv"
    ffmpeg("-ss", "2", "-i", DEMO_CLIP, "-frames:v", str(FRAMES), path)
    return path


def test_a_file_goes_on_at_its_end_and_its_tracks_end_there(tmp_path: Path, clip: Path) -> None:
    options = ("--no-pace", "--wait-for-subscriber", "--set", "source.repeat=3")
    with RunningDaemon(tmp_path, "--source", str(clip), *options, *PURPOSE) as daemon:
        assert daemon.run_to_end() == 0
        frames = daemon.frames
        details = [event["detail"] for event in daemon.events("media_repeated")]
    assert [frame["frame"]["index"] for frame in frames] == list(range(3 * FRAMES))
    stamps = [frame["time"]["sensor_ns"] for frame in frames]
    assert stamps == [index * 40_000_000 for index in range(3 * FRAMES)]
    assert [(each["repeat"], each["index"]) for each in details] == [(1, FRAMES), (2, 2 * FRAMES)]
    tracks = [{face["track"] for face in frame["faces"]} for frame in frames]
    passes = [set().union(*tracks[at : at + FRAMES]) for at in range(0, 3 * FRAMES, FRAMES)]
    assert all(passes)
    assert not passes[0] & passes[1]
    assert not passes[1] & passes[2]


def test_a_worker_that_takes_over_continues_in_the_same_pass(tmp_path: Path, clip: Path) -> None:
    options = ("--set", "source.repeat=0", "--set", "source.rate_hz=25")
    with RunningDaemon(tmp_path, "--source", str(clip), *options, *PURPOSE) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] > 2 * FRAMES + 5)
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda message: message.get("event") == "worker_lost")
        daemon.wait_for_frame()
        daemon.wait_for(lambda message: message.get("event") == "media_repeated")
        daemon.wait_for_frame()
        assert daemon.stop()[0] == 0
        frames = daemon.frames
        repeats = [event["detail"]["index"] for event in daemon.events("media_repeated")]
    for frame in frames:
        assert frame["time"]["sensor_ns"] == frame["frame"]["index"] * 40_000_000
    indices = [frame["frame"]["index"] for frame in frames]
    assert indices == sorted(set(indices))
    assert repeats == list(range(FRAMES, repeats[-1] + 1, FRAMES))
