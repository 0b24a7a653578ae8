"""What ``check`` says of sources, with real files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.check.source import source_line
from edge.config import load_config
from tests.support.daemons import ROOT
from tests.support.source_media import encode


def line(kind: str, path: object) -> tuple[str, str]:
    key = "url" if kind == "stream" else "path"
    settings = [f"source.kind={kind}", f"source.{key}={path}", "device.purpose=safety"]
    found = source_line(load_config(settings=settings, environment={}))
    assert found is not None
    assert "\n" not in found[1]
    return found


def test_the_first_picture_of_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(f"{tmp_path}/1.png", np.zeros((48, 64), np.uint8))
    monkeypatch.chdir(tmp_path.parent)  # a relative path is shown whole
    assert line("images", tmp_path.name) == (
        "ok", f"source {tmp_path}: the first picture has 64x48 pixels; it is dark",
    )  # fmt: skip
    clip = next(iter(ROOT.glob("edge/**/*.mp4")))
    level, text = line("video", clip)
    assert level == "ok"
    assert text.endswith(" pixels")


@pytest.mark.parametrize("kind", ["video", "images", "v4l2"])
def test_what_cannot_be_read_is_wrong(tmp_path: Path, kind: str) -> None:
    """All of these passed; the daemon then ended with exit 78."""
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    for name in ("text.mp4", "empty", *(("gone",) if kind != "v4l2" else ())):
        level, text = line(kind, tmp_path / name)
        assert (level, str(tmp_path / name) in text) == ("WRONG", True)


def test_a_first_picture_that_is_damaged_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    cv2.imwrite(f"{tmp_path}/2.png", np.zeros((48, 64), np.uint8))
    assert line("images", tmp_path)[0] == "WARN"


@pytest.mark.parametrize("suffix", ["mjpeg", "h264"])
def test_a_file_without_times_is_a_warning(tmp_path: Path, suffix: str) -> None:
    clip = encode(tmp_path / f"clip.{suffix}")
    level, text = line("video", clip)
    assert level == "WARN"
    assert "320x180 pixels" in text
    assert "set source.rate_hz" in text
    settings = ["source.kind=video", f"source.path={clip}", "source.rate_hz=50"]
    found = source_line(load_config(settings=[*settings, "device.purpose=safety"], environment={}))
    assert found is not None
    assert found[0] == "ok"


def test_cameras_are_not_opened() -> None:
    assert line("v4l2", "/dev/video99")[0] == "WARN"
    assert line("v4l2", "/dev/null")[0] == "ok"
    level, text = line("stream", "rtsp://me:secret@192.0.2.1/secret")
    assert level == "ok"
    assert "secret" not in text
    assert source_line(load_config(environment={})) is None
