"""Frame rates of files and streams: their own, configured, or unknown."""

from pathlib import Path

import pytest

from edge.config import StreamSource
from edge.vision.sources.video import Video
from tests.support.ports import free_port
from tests.support.source_media import MediaServer, address, connected, encode

RAW = {
    "h264": ("-c:v", "libx264"),
    "hevc": ("-c:v", "libx265", "-x265-params", "log-level=none"),
    "mjpeg": ("-c:v", "mjpeg"),
    "m4v": ("-c:v", "mpeg4", "-f", "m4v"),
}


def times_ms(path: Path, rate_hz: float | None) -> tuple[float | None, list[float]]:
    """Return the expected rate, and the times of the first pictures."""
    with Video(str(path), rate_hz=rate_hz) as source:
        return source.expected_hz, [source.read().sensor_ns / 1e6 for _ in range(5)]


@pytest.mark.parametrize("suffix", RAW)
def test_rate_of_a_file_without_times_is_configured(suffix: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"clip.{suffix}", "-r", "50", *RAW[suffix])
    assert times_ms(path, None)[0] is None
    assert times_ms(path, 50.0) == (50.0, [0, 20, 40, 60, 80])


def test_configured_rate_replaces_the_times_of_a_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", "-r", "25", "-bf", "0")
    assert times_ms(path, None) == (25.0, [0, 40, 80, 120, 160])
    assert times_ms(path, 10.0) == (10.0, [0, 100, 200, 300, 400])


@pytest.mark.parametrize(
    ("form", "codec", "stated_hz"),
    [
        ("mpjpeg", ("-c:v", "mjpeg"), None),
        ("h264", ("-c:v", "copy"), None),
        ("mpegts", ("-c:v", "copy"), 25.0),
    ],
    ids=["MJPEG", "H.264", "MPEG-TS"],
)
@pytest.mark.parametrize("rate_hz", [None, 8.0])
def test_stream_without_times_has_no_expected_rate(
    form: str,
    codec: tuple[str, ...],
    stated_hz: float | None,
    rate_hz: float | None,
    tmp_path: Path,
) -> None:
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-bf", "0")
    path = encode(tmp_path / "clip.ts", *options, frames=25)
    port = free_port()
    config = StreamSource(kind="stream", url=address(port), rate_hz=rate_hz)
    with MediaServer(path, port, *codec, form=form), connected(config) as source:
        for _ in range(3):
            source.read()
        assert source.expected_hz == (rate_hz or stated_hz)
