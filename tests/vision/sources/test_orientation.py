"""Pictures of cameras that are mounted upside down, on their side or behind a mirror."""

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.clock import Stopwatch, monotonic_ns
from edge.config import DetectorConfig, SourceConfig, StreamSource, load_config
from edge.errors import ConfigError, EndOfStream
from edge.vision.detect import Detector, open_detector
from edge.vision.sources import open_source
from edge.vision.sources.orientation import Oriented, turned
from edge.vision.values import Frame
from tests.support.fake_capture import Device
from tests.support.fake_picamera2 import Script, install
from tests.support.ports import free_port
from tests.support.source_media import address, connected, encode, served

SMALL = (320, 192)
QUARTERS = {0: 0, 90: 3, 180: 2, 270: 1}  # counterclockwise turns of numpy.rot90
FLIPS = {"none": lambda p: p, "horizontal": np.fliplr, "vertical": np.flipud}


def configured(**source: Any) -> SourceConfig:
    values = {"source": source, "device": {"purpose": "safety"}}
    return load_config(environment={}, overrides=values).source


def read(config: SourceConfig, count: int) -> list[Frame]:
    with open_source(config, small_size=SMALL) as source:
        return [source.read() for _ in range(count)]


@pytest.mark.parametrize(("rotate_deg", "flip"), list(itertools.product(QUARTERS, FLIPS)))
def test_pictures_are_rotated_clockwise_and_then_flipped(rotate_deg: int, flip: str) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (6, 10), np.uint8)
    result = turned(picture, rotate_deg, flip)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, FLIPS[flip](np.rot90(picture, QUARTERS[rotate_deg])))


@pytest.mark.parametrize("kind", ["images", "video", "demo", "v4l2", "picamera"])
@pytest.mark.parametrize(
    ("rotate_deg", "flip"), [(90, "none"), (180, "none"), (0, "horizontal"), (270, "vertical")]
)
def test_every_source_turns_its_frames(
    kind: str, rotate_deg: int, flip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"kind": kind}
    if kind == "images":
        for number in range(3):
            noise = np.random.default_rng(number).integers(0, 256, (48, 64), np.uint8)
            cv2.imwrite(str(tmp_path / f"{number}.png"), noise)
        settings["path"] = str(tmp_path)
    elif kind == "video":
        settings["path"] = str(encode(tmp_path / "clip.mp4", "-pix_fmt", "yuv420p"))
    elif kind == "v4l2":
        settings["path"] = "/dev/null"
        monkeypatch.setattr(cv2, "VideoCapture", Device().open)
    with install(Script(start_ns=monotonic_ns())):
        plain = read(configured(**settings), 3)
        frames = read(configured(**settings, rotate_deg=rotate_deg, flip=flip), 3)
    for before, after in zip(plain, frames, strict=True):
        np.testing.assert_array_equal(after.luma, turned(before.luma, rotate_deg, flip))
        assert after.index == before.index
        assert after.clock == before.clock
        assert after.capture_ms >= 0
        if rotate_deg in (0, 180) and before.small is not None:
            assert after.small is not None
            np.testing.assert_array_equal(after.small, turned(before.small, rotate_deg, flip))
        else:
            assert after.small is None


def test_network_camera_is_turned(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.ts", "-c:v", "libx264", "-g", "5", "-bf", "0", frames=25)
    port = free_port()
    config = StreamSource(kind="stream", url=address(port))
    with served(clip, port), connected(config) as stream:
        assert Oriented(stream, 90, "none").read().luma.shape == (320, 180)


@pytest.mark.parametrize("rotate_deg", [90, 180, 270])
def test_face_of_a_turned_camera_is_found(rotate_deg: int, tmp_path: Path) -> None:
    turns = {90: "transpose=2", 180: "hflip,vflip", 270: "transpose=1"}
    upright = "crop=432:720:348:0"  # a camera on its side films a narrow scene
    path = encode(tmp_path / "turned.mp4", "-vf", f"{upright},{turns[rotate_deg]}", frames=3)
    detector: Detector = open_detector(DetectorConfig())
    with open_source(
        configured(kind="video", path=str(path), rotate_deg=rotate_deg),
        small_size=detector.input_size,
    ) as source:
        for _ in range(3):
            frame = source.read()
            (face,) = detector.detect(frame, Stopwatch())
            assert face.score > 0.8
            eyes, mouth = face.landmarks[:2, 1].mean(), face.landmarks[3:, 1].mean()
            assert face.box.y < eyes < mouth < face.box.y + face.box.height
        with pytest.raises(EndOfStream):
            source.read()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rotate_deg": 45}, "source.rotate_deg: expected 0, 90, 180 or 270 (received 45)"),
        ({"rotate_deg": "90"}, "source.rotate_deg: expected 0, 90, 180 or 270"),
        ({"flip": "both"}, 'source.flip: expected one of "none", "horizontal", "vertical"'),
    ],
)
def test_other_orientations_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(kind="demo", **settings)
    assert words in str(caught.value)
