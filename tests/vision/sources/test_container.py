"""Pictures that a file asks to be turned, mirrored, or stretched when they are shown."""

import struct
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.vision.sources.container import Recording, is_mirrored, is_trimmed, recording_of
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


# -- length and date -------------------------------------------------------------------------------

DATED = ("-metadata", "creation_time=2026-11-03T08:30:00Z")
DATE_NS = 1_793_694_600_000_000_000
MP4_DATE_S = DATE_NS // 10**9 + 2_082_844_800


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dated", [True, False])
def test_length_and_date_of_a_recording(tmp_path: Path, container: str, dated: bool) -> None:
    path = encode(tmp_path / f"clip.{container}", *H264, *(DATED if dated else ()), frames=25)
    found = recording_of(str(path))
    assert found.created_unix_ns == (DATE_NS if dated else None)
    assert found.duration_s == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_length_of_a_file_whose_times_begin_late(tmp_path: Path, container: str) -> None:
    """Recorders cut hours into files whose times go on; such a file was called damaged."""
    late = ("-output_ts_offset", "500")
    path = encode(tmp_path / f"clip.{container}", *H264, *late, frames=25)
    assert recording_of(str(path)).duration_s == pytest.approx(1.0, abs=0.05)


def test_a_format_without_date_and_a_missing_file_say_nothing(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", "-c:v", "mjpeg", *DATED)
    assert recording_of(str(path)) == recording_of(str(tmp_path / "absent")) == Recording()


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def movie(version: int, created_s: int, scale: int, length: int) -> bytes:
    """Return an MP4 file of one header."""
    form = ">QQIQ" if version else ">IIII"
    values = struct.pack(form, created_s, 0, scale, length)
    return box(b"ftyp", b"") + box(b"moov", box(b"mvhd", bytes([version, 0, 0, 0]) + values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, MP4_DATE_S, 1000, 1500), Recording(1.5, DATE_NS)),
        ((1, MP4_DATE_S, 1000, 1500), Recording(1.5, DATE_NS)),
        ((0, 0, 1000, 1500), Recording(1.5, None)),  # not set
        ((0, DATE_NS // 10**9, 1000, 1500), Recording(1.5, None)),  # counted from 1970: 1960
        ((0, MP4_DATE_S, 0, 1500), Recording(None, DATE_NS)),
        ((0, MP4_DATE_S, 1000, 0), Recording(None, DATE_NS)),  # a fragmented file
        ((0, MP4_DATE_S, 1000, 2**32 - 1), Recording(None, DATE_NS)),
        ((1, 2**64 - 1, 1, 2**64 - 1), Recording(None, None)),
    ],
)
def test_dates_and_lengths_that_cannot_be_meant(
    tmp_path: Path, values: tuple[int, int, int, int], expected: Recording
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(movie(*values))
    assert recording_of(str(path)) == expected


EBML, SEGMENT, INFO = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66"
SIZES = st.one_of(st.integers(0, 40), st.integers(0, 2**56 - 1)).map(
    lambda size: ((1 << 56) | size).to_bytes(8, "big")
)
NAMES = st.sampled_from([b"\x2a\xd7\xb1", b"\x44\x89", b"\x44\x61", INFO, b"\xec"])
ELEMENTS = st.lists(st.tuples(NAMES, SIZES, st.binary(max_size=12)), max_size=6)
MP4_BOXES = st.lists(
    st.tuples(
        st.sampled_from([b"moov", b"mvhd", b"trak", b"edts", b"free"]),
        st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
        st.binary(max_size=40),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(ELEMENTS, SIZES, MP4_BOXES, st.booleans())
def test_hostile_sizes_are_no_error(
    tmp_path_factory: pytest.TempPathFactory,
    elements: list[tuple[bytes, bytes, bytes]],
    segment_size: bytes,
    boxes: list[tuple[bytes, int, bytes]],
    matroska: bool,
) -> None:
    """Sizes of zero, beyond the file, and of 2**56 bytes: nothing raises, loops or allocates."""
    if matroska:
        inner = b"".join(name + size + content for name, size, content in elements)
        content = EBML + b"\x80" + SEGMENT + segment_size + INFO + segment_size + inner
    else:
        content = box(b"ftyp", b"")
        content += b"".join(struct.pack(">I", size) + name + rest for name, size, rest in boxes)
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(content)
    found = recording_of(str(path))
    assert found.duration_s is None or 0 < found.duration_s < 1e9
    assert found.created_unix_ns is None or 0 < found.created_unix_ns < 2**63
    is_mirrored(str(path))
    is_trimmed(str(path))


@settings(max_examples=200)
@given(st.data())
def test_flipped_bytes_of_a_real_header_are_no_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(movie(data.draw(st.integers(0, 1)), MP4_DATE_S, 1000, 1500))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(content)
    recording_of(str(path))
