"""What is refused where OpenCV garbles pictures that change size."""

from pathlib import Path

import cv2
import pytest

from edge.check.source import source_line
from edge.config import DemoSource, StreamSource, load_config
from edge.errors import ConfigError, EndOfStream
from edge.vision.sources import check_decoder, load_modules, open_source
from edge.vision.sources.old_opencv import garbles_size_changes
from edge.vision.sources.stream import Stream
from edge.vision.sources.video import DEMO_CLIP, Video
from tests.support.source_media import encode, ffmpeg

CAMERA = StreamSource(kind="stream", url="rtsp://127.0.0.1:9/a", read_timeout_s=0.5)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "4.11.0")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("4.11.0", True), ("4.12.0-dev", True), ("3.4.20", True),
        ("4.13.0", False), ("4.14.0-pre", False), ("5.0.0", False),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(
    version: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "__version__", version)
    assert garbles_size_changes() is expected


@pytest.mark.usefixtures("old")
def test_network_cameras_are_refused_before_they_are_opened() -> None:
    for attempt in (check_decoder, load_modules):
        with pytest.raises(ConfigError, match=r"source.kind stream: OpenCV 4.11.0 garbles"):
            attempt(CAMERA)
        attempt(DemoSource())
    with pytest.raises(ConfigError, match=r"expected OpenCV 4\.13 or newer"), Stream(CAMERA):
        pass


@pytest.mark.usefixtures("old")
def test_check_reports_a_network_camera_as_wrong() -> None:
    config = load_config(
        settings=[f"source.url={CAMERA.url}", "source.kind=stream", "device.purpose=safety"]
    )
    line = source_line(config)
    assert line is not None
    assert line[0] == "WRONG"
    assert "source.kind stream: OpenCV 4.11.0 garbles" in line[1]


def joined(folder: Path, name: str, sizes: tuple[str, str], frames: int = 9) -> Path:
    """Write an H.264 file that changes its size after ``frames`` frames."""
    path = folder / name
    units = b""
    for size in sizes:
        part = folder / f"{size}.h264"
        ffmpeg(
            *("-i", DEMO_CLIP, "-frames:v", str(frames), "-s", size, "-c:v", "libx264"),
            *("-bf", "0", "-x264-params", "repeat-headers=1", part),
        )
        units += part.read_bytes()
    (folder / "both.h264").write_bytes(units)
    ffmpeg("-r", "25", "-i", folder / "both.h264", "-c", "copy", path)
    return path


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("sizes", [("320x180", "160x90"), ("160x90", "320x180")])
def test_a_file_that_changes_its_size_is_refused(
    tmp_path: Path, name: str, sizes: tuple[str, str]
) -> None:
    path = joined(tmp_path, name, sizes)
    with (
        pytest.raises(ConfigError, match=rf"{name}': its pictures change their size"),
        Video(str(path)),
    ):
        pass


@pytest.mark.usefixtures("old")
def test_a_late_change_is_refused_before_the_first_picture_of_the_other_size(
    tmp_path: Path,
) -> None:
    path = joined(tmp_path, "late.mp4", ("320x180", "160x90"), frames=120)
    with Video(str(path)) as source:
        for _ in range(40):
            assert source.read().luma.shape == (180, 320)
        with pytest.raises(ConfigError, match="change their size"):
            [source.read() for _ in range(80)]


@pytest.mark.usefixtures("old")
def test_only_h264_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", "-c:v", "mpeg4")
    with (
        pytest.raises(ConfigError, match=r"only H.264 shows beforehand.*libx264"),
        Video(str(path)),
    ):
        pass


@pytest.mark.usefixtures("old")
def test_a_file_of_one_size_is_read_to_its_end() -> None:
    with open_source(DemoSource(), small_size=(320, 192)) as source:
        frames = [source.read() for _ in range(300)]
        with pytest.raises(EndOfStream):
            source.read()
    assert frames[-1].index == 299
