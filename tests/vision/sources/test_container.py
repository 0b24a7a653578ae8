"""Pictures that a file asks to be turned, mirrored, or stretched when they are shown."""

import struct
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.vision.sources.container import is_mirrored
from edge.vision.sources.video import Video
from edge.vision.values import Luma
from tests.support.source_media import encode, ffmpeg, grey_by_ffmpeg

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
FLIPS = {
    "none": (),
    "horizontal": ("-display_hflip",),
    "vertical": ("-display_vflip",),
    "both": ("-display_hflip", "-display_vflip"),
}
CONTAINERS = ("mp4", "mov", "mkv")
WIDE = ("-vf", "scale=160:180,setsar=2")
NARROW = ("-vf", "scale=320:90,setsar=1/2")
# name -> container, encoder options; shown at 320 x 180
NOT_SQUARE = {
    "H.264": ("mp4", (*WIDE, *H264)),
    "narrow": ("mp4", (*NARROW, *H264)),
    "MPEG-2": ("ts", (*WIDE, "-c:v", "mpeg2video")),
    "MPEG-4": ("mkv", (*NARROW, "-c:v", "mpeg4")),
    "MJPEG": ("avi", (*WIDE, "-c:v", "mjpeg")),
}


def first(path: Path) -> Luma:
    with Video(str(path)) as source:
        return source.read().luma


def apart(one: Luma, other: Luma) -> float:
    assert one.shape == other.shape
    return float(cv2.absdiff(one, other).mean())


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_mirrored_and_turned_pictures_are_shown_as_meant(
    tmp_path: Path, container: str, flip: str, angle: int
) -> None:
    upright, path = encode(tmp_path / "upright.mp4", *H264), tmp_path / f"clip.{container}"
    display = ("-display_rotation", str(angle), *FLIPS[flip])
    ffmpeg(*display, "-i", upright, "-c", "copy", path)
    shown = first(path)
    assert shown.shape == ((320, 180) if angle in (90, 270) else (180, 320))
    assert apart(shown, grey_by_ffmpeg(path, shown.shape[::-1])) < 1
    assert is_mirrored(str(path)) == (flip in ("horizontal", "vertical"))


@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize("kind", NOT_SQUARE)
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, kind: str, angle: int) -> None:
    container, options = NOT_SQUARE[kind]
    path = encode(tmp_path / f"clip.{container}", *options)
    if angle:
        squeezed, path = path, tmp_path / "turned.mp4"
        ffmpeg("-display_rotation", str(angle), "-i", squeezed, "-c:v", "copy", path)
    shown = first(path)
    assert shown.shape == ((320, 180) if angle else (180, 320))
    assert apart(shown, grey_by_ffmpeg(path, shown.shape[::-1])) < 2


def test_pixels_within_one_percent_of_square_stay_as_they_are(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", "-vf", "scale=320:180,setsar=201/200", *H264)
    assert first(path).shape == (180, 320)


@pytest.mark.parametrize(
    ("display", "options", "message"),
    [
        (("-display_rotation", "45"), (), "turned by 315 degrees"),
        ((), ("-vf", "scale=64:180,setsar=5"), "pixels of 5:1"),
    ],
    ids=["45 degrees", "5:1"],
)
def test_what_cannot_be_shown_as_meant_is_refused(
    tmp_path: Path, display: tuple[str, ...], options: tuple[str, ...], message: str
) -> None:
    plain, path = encode(tmp_path / "plain.mp4", *options, *H264), tmp_path / "clip.mp4"
    ffmpeg(*display, "-i", plain, "-c", "copy", path)
    with pytest.raises(ConfigError, match=message) as caught, Video(str(path)):
        pass
    assert "ffmpeg -i IN" in str(caught.value)
    assert "\n" not in str(caught.value)


BOX = st.tuples(st.sampled_from([b"ftyp", b"moov", b"trak", b"tkhd", b"mvhd"]), st.binary())
HEADS = st.sampled_from([b"", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff", b"\0\0\0\x08ftyp"])


@given(HEADS, st.lists(BOX), st.binary(max_size=40))
def test_damaged_containers_are_not_mirrored(
    tmp_path_factory: pytest.TempPathFactory,
    head: bytes,
    boxes: list[tuple[bytes, bytes]],
    tail: bytes,
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    parts = [struct.pack(">I", 8 + len(content)) + name + content for name, content in boxes]
    path.write_bytes(head + b"".join(parts) + tail)
    assert not is_mirrored(str(path))


def test_file_that_is_not_there_is_not_mirrored(tmp_path: Path) -> None:
    assert not is_mirrored(str(tmp_path / "absent.mp4"))
