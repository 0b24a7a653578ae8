"""Overload: drops are counted, memory and latency are bounded."""

import statistics
import subprocess
import urllib.request
from pathlib import Path

import imageio_ffmpeg
import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

FRAMES = 600


@pytest.fixture(scope="module")
def fast_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo clip, played twice, at a rate too high for a CenterFace at 640x384 here."""
    path = tmp_path_factory.mktemp("clip") / "fast.mp4"
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-stream_loop", "1"),
            *("-i", str(DEMO_CLIP), "-vf", "scale=640:360,setpts=N/(100*TB)", "-r", "100"),
            *("-frames:v", str(FRAMES), "-pix_fmt", "yuv420p", str(path)),
        ],
        check=True,
    )
    return path


def scrape(port: int) -> dict[str, float]:
    """Return every sample of the metrics page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as page:
        lines = page.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_a_source_faster_than_the_machine(tmp_path: Path, fast_clip: Path) -> None:
    port = free_port()
    with RunningDaemon(
        tmp_path,
        *("--source", str(fast_clip), "--wait-for-subscriber", *PURPOSE),
        # each frame costs a full look: regions would keep up with the source on a fast machine
        *("--set", "detector.model=centerface-640x384"),
        *("--set", 'detector.schedule="every-frame"'),
        *("--set", f'metrics.address="127.0.0.1:{port}"'),
        metrics=True,
    ) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "status" and m["frames_dropped"] > 0)
        metrics = scrape(port)
        assert metrics["affect_edge_frame_drops_total"] > 0
        assert daemon.run_to_end() == 0
        frames = daemon.frames
        ended = daemon.events("epoch_ended")[0]["detail"]
    indices = [m["frame"]["index"] for m in frames]
    # every frame is either published or counted as dropped
    for before, after in zip([-1, *indices], frames, strict=False):
        assert after["frame"]["dropped"] == after["frame"]["index"] - before - 1
    dropped = sum(m["frame"]["dropped"] for m in frames)
    assert ended["captured"] == FRAMES
    assert len(frames) + dropped == indices[-1] + 1
    assert FRAMES - 1 - indices[-1] <= 2, "the newest frames were dropped instead of older ones"
    assert dropped > FRAMES / 5, "the source was too slow for this test"
    # In a pipeline of two slots a frame waits for at most one frame per later stage, so the latency
    # is a small multiple of the slowest stage's time, however long the source runs, and however
    # busy the machine is meanwhile: in a queue it would be a multiple of hundreds at the end.
    for half in (frames[: len(frames) // 2], frames[len(frames) // 2 :]):
        slowest = [max(m["timing_ms"][s] for s in ("detect", "classify")) for m in half]
        latency = [m["timing_ms"]["total"] for m in half]
        assert statistics.median(latency) < 4 * statistics.median(slowest) + 20
    resident = [m["worker_rss_mb"] for m in daemon.messages if m.get("worker_rss_mb")]
    assert max(resident[2:]) - min(resident[2:]) < 16, resident
