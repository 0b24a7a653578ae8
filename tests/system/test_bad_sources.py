"""The daemon waits for an absent live source, and reports and skips unreadable pictures."""

import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import Config
from edge.errors import ConfigError
from edge.link import Link
from edge.vision.pipeline import Pipeline
from edge.vision.sources.images import Images
from edge.worker.threads import Worker
from tests.support.daemons import PURPOSE, RunningDaemon


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--source", "/dev/video97"), "/dev/video97"),
        (("--set", 'source.kind="v4l2"', "--set", 'source.path="/dev/null"'), "/dev/null"),
        (("--source", "rtsp://user:pa55word@127.0.0.1:9/none"), "127.0.0.1:9"),
        (("--source", "rtsp://127.0.0.1:9/user=me&password=pa55word&channel=1"), "127.0.0.1:9"),
        (("--source", "http://127.0.0.1:9/user=me_password=pa55word"), "127.0.0.1:9"),
    ],
    ids=["no-such-camera", "no-camera-at-all", "user", "path", "http-path"],
)
def test_an_absent_live_source_is_reported_once_and_retried(
    arguments: tuple[str, ...], word: str, tmp_path: Path
) -> None:
    with RunningDaemon(tmp_path, *arguments, *PURPOSE) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "status" and m["source_state"] == "absent")
        # meanwhile the daemon tries the source again, without another warning
        for _ in range(2):
            daemon.wait_for(lambda m: m["kind"] == "status" and m["source_state"] == "absent")
        assert daemon.stop(signal.SIGTERM)[0] == 0
        lines = daemon.stderr.splitlines()
        warnings = [line for line in lines if line.startswith("affect-edge: WARNING")]
        assert len(warnings) == 1, daemon.stderr
        assert word in warnings[0]
        assert all(line.startswith(("affect-edge: INFO", *warnings)) for line in lines)
        assert "pa55word" not in daemon.stderr + json.dumps(daemon.messages)


def test_unusual_pictures_are_read_and_an_unreadable_one_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, picture in {
        "a-one-pixel.png": np.full((1, 1), 128, np.uint8),
        "b-huge.jpg": np.full((6000, 8000), 90, np.uint8),
        "c-16-bit.png": rng.integers(0, 65536, (48, 64), np.uint16),
        "d-transparent.png": rng.integers(0, 256, (48, 64, 4), np.uint8),
        "f-thin.png": rng.integers(0, 256, (3, 900), np.uint8),
    }.items():
        assert cv2.imwrite(str(folder / name), picture)
    (folder / "e-corrupt.png").write_bytes((folder / "c-16-bit.png").read_bytes()[:40])
    with RunningDaemon(
        tmp_path, "--source", str(folder), "--no-pace", "--wait-for-subscriber", *PURPOSE
    ) as daemon:
        assert daemon.run_to_end() == 0
        sizes = [(m["frame"]["width"], m["frame"]["height"]) for m in daemon.frames]
        assert sizes == [(1, 1), (8000, 6000), (64, 48), (64, 48), (900, 3)]
        assert [m["frame"]["dropped"] for m in daemon.frames] == [0, 0, 0, 0, 1]
        refused = daemon.events("frame_refused")
        assert len(refused) == 1
        assert "e-corrupt.png" in refused[0]["detail"]["reason"]
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert (ended["frames"], ended["dropped"], ended["captured"]) == (5, 1, 6)
        assert "Traceback" not in daemon.stderr


def test_resuming_at_an_unreadable_last_picture_ends_without_error(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64), 99, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    link, other = Link.pair()
    config = Config()
    worker = Worker(link, config, Pipeline.open(config), lossless=True, first_index=1)
    try:
        with Images(str(tmp_path), rate_hz=1.0) as source:
            # another worker has published the first picture
            assert list(worker._capture._read_all(source)) == []
        (tmp_path / "a.png").unlink()
        with (
            Images(str(tmp_path), rate_hz=1.0) as source,
            pytest.raises(ConfigError, match=r"b\.png"),
        ):
            list(worker._capture._read_all(source))
    finally:
        link.close()
        other.close()
