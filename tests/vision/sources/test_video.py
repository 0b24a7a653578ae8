"""Video files: correct luma and times, and files without video."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError, EndOfStream
from edge.vision.sources.decode import Plane
from edge.vision.sources.video import DEMO_CLIP, Video
from edge.vision.values import Frame, Luma
from tests.support.source_media import encode, ffmpeg, grey_by_opencv

TV = ("-color_range", "tv")
# name -> container, expected conversion of the plane, encoder options
ENCODINGS = {
    "grey": ("mp4", Plane.FULL, ("-c:v", "libx264", "-pix_fmt", "gray", "-color_range", "pc")),
    "limited": ("mkv", Plane.LIMITED, ("-c:v", "libx264", "-pix_fmt", "yuv420p", *TV)),
    "full": ("ts", Plane.FULL, ("-c:v", "libx264", "-pix_fmt", "yuvj420p", "-color_range", "pc")),
    "baseline": ("mp4", Plane.LIMITED, ("-profile:v", "baseline", "-pix_fmt", "yuv420p", *TV)),
    "4:2:2": ("mp4", Plane.LIMITED, ("-c:v", "libx264", "-pix_fmt", "yuv422p", *TV)),
    "10 bit": ("mkv", Plane.CONVERT, ("-c:v", "libx264", "-pix_fmt", "yuv420p10le")),
    "HEVC": ("mp4", Plane.CONVERT, ("-c:v", "libx265", "-x265-params", "log-level=none")),
    "MJPEG": ("avi", Plane.CONVERT, ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
    "packed": ("avi", Plane.CONVERT, ("-c:v", "rawvideo", "-pix_fmt", "yuyv422")),
    "colour": ("mkv", Plane.CONVERT, ("-c:v", "ffv1", "-pix_fmt", "bgr0")),
}


def read_all(path: Path) -> list[Frame]:
    with Video(str(path)) as source:
        return list(until_the_end(source))


def until_the_end(source: Video) -> Iterator[Frame]:
    while True:
        try:
            yield source.read()
        except EndOfStream:
            return


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_luma_equals_that_of_the_conversion_via_colour(
    tmp_path: Path, encoding: str, capfd: pytest.CaptureFixture[str]
) -> None:
    container, plane, options = ENCODINGS[encoding]
    path = encode(tmp_path / f"clip.{container}", *options)
    with Video(str(path)) as source:
        assert source._reader.plane is plane  # the conversion that this case tests
    frames, expected = read_all(path), grey_by_opencv(path)
    assert len(frames) == len(expected) == 6
    for frame, grey in zip(frames, expected, strict=True):
        assert int(cv2.absdiff(frame.luma, grey).max()) <= 2
        assert grey.max() > 100, "the pictures of the test show something"
    assert capfd.readouterr().err == ""


def test_interlaced_video_is_decoded_or_refused_but_never_garbage(tmp_path: Path) -> None:
    options = ("-x264-params", "cqm=jvt:interlaced=1", "-pix_fmt", "yuv420p", *TV)
    fields = encode(tmp_path / "fields.mp4", "-c:v", "libx264", *options)
    whole = encode(tmp_path / "whole.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", *TV)
    try:
        frames = read_all(fields)
    except ConfigError as error:  # OpenCV from 4.13 on
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert "fields.mp4" in refusal
        assert "interlaced" in refusal
        assert "\n" not in refusal
        return
    for frame, expected in zip(frames, read_all(whole), strict=True):
        assert cv2.absdiff(frame.luma, expected.luma).mean() < 5


@pytest.mark.parametrize(
    "name",
    [
        "2024-11-27T12:30:05.mp4",
        "concat:a.mp4",
        "pipe:0.mp4",
        "http:camera.mp4",
        "file:clip.mp4",
        "-clip.mp4",
        "100%.mp4",
        "clip%03d.mp4",
        "a b?c#d|e.mp4",
        "Gesicht-ä\N{GRINNING FACE}.mp4",
        os.fsdecode(b"Gr\xfc\xdfe.mp4"),  # Latin-1
    ],
    ids=ascii,
)
def test_any_file_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    encode(tmp_path / "plain.mp4", frames=2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, f"./{name}", str(tmp_path / name)):
        with Video(path) as source:
            assert len(list(until_the_end(source))) == 2


def test_variable_frame_rate_is_preserved(tmp_path: Path) -> None:
    numbers = (0, 1, 4, 5, 11, 12)
    chosen = "+".join(f"eq(n,{number})" for number in numbers)
    path = tmp_path / "uneven.mkv"
    ffmpeg("-i", DEMO_CLIP, "-vf", f"select='{chosen}',scale=64:36", "-fps_mode", "vfr", path)
    assert [frame.sensor_ns for frame in read_all(path)] == [n * 40_000_000 for n in numbers]


def test_time_stamps_increase_although_those_of_the_file_do_not(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts")
    twice = tmp_path / "twice.ts"
    twice.write_bytes(one.read_bytes() * 2)  # the second half starts at the first one's time
    frames = read_all(twice)
    assert len(frames) == 12
    assert all(b.sensor_ns > a.sensor_ns for a, b in itertools.pairwise(frames))


def test_truncated_file_gives_its_complete_frames(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = encode(tmp_path / "whole.mkv", frames=20)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert 1 <= len(read_all(cut)) < 20
    assert capfd.readouterr().err == ""


def test_size_of_the_pictures_may_change(tmp_path: Path) -> None:
    parts = {width: tmp_path / f"{width}.ts" for width in (320, 160)}
    for width, part in parts.items():
        scale = f"scale={width}:{width * 9 // 16}"
        ffmpeg("-i", DEMO_CLIP, "-frames:v", "5", "-vf", scale, "-c:v", "libx264", part)
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts.values()))
    frames = read_all(both)
    assert len(frames) == 10
    for frame, small in zip(frames[5:], read_all(parts[160]), strict=True):
        # OpenCV scales later pictures to the size of the first one
        expected = cv2.resize(small.luma, (320, 180), interpolation=cv2.INTER_CUBIC)
        assert cv2.absdiff(frame.luma, expected).mean() < 2


def audio(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", "-f", "wav", path)


def av1(path: Path) -> None:
    """Write a video of a codec that OpenCV's FFmpeg finds and has no decoder for."""
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:d=0.2",
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libaom-av1",
        path,
    )


def without_index(path: Path) -> None:
    """Write what a recorder leaves that lost its power: pictures whose index was not written."""
    pictures = bytes(100_000)
    path.write_bytes(
        b"\0\0\0\x14ftypisom\0\0\2\0isom" + b"\0\2\0\0mdat" + pictures  # its size is not reached
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("not a video\n" * 50), "no video in it"),
        (lambda path: path.write_bytes(b""), "no video in it; an empty file"),
        (lambda path: path.write_text("<!DOCTYPE html><p>Sign in"), "no video in it; a web page"),
        (lambda path: path.write_bytes(DEMO_CLIP.read_bytes()[:2000]), "no video in it"),
        (without_index, r"no video in it; its index \(moov\) is missing: it was cut off"),
        (lambda path: path.write_bytes(np.random.default_rng(5).bytes(9000)), "no video in it"),
        (audio, "no video in it; expected"),
        (av1, r"no video in it that this OpenCV can decode \(codec AV01\); convert it"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: None, "not a file"),
    ],
    ids=[
        "text",
        "empty",
        "page",
        "header",
        "no index",
        "noise",
        "audio",
        "av1",
        "folder",
        "absent",
    ],
)
def test_file_without_video_is_a_configuration_error(
    tmp_path: Path, make: object, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input.mp4"
    make(path)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=message) as caught, Video(str(path)):
        pass
    assert "\n" not in str(caught.value)
    assert "input.mp4" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_demo_clip_is_the_one_that_its_readme_describes() -> None:
    described = DEMO_CLIP.with_name("README.md").read_text()
    content = DEMO_CLIP.read_bytes()
    assert hashlib.sha256(content).hexdigest() in described
    assert len(content) <= 1_500_000
    levels: dict[int, float] = {}
    with Video(str(DEMO_CLIP)) as source:
        for frame in until_the_end(source):
            assert frame.sensor_ns == len(levels) * 40_000_000
            levels[frame.index] = brightness(frame.luma)
    assert list(levels) == list(range(300))
    assert all(level < 8 for index, level in levels.items() if 240 <= index < 260), "the dark one"
    assert all(level > 40 for index, level in levels.items() if not 230 <= index < 270)


def brightness(luma: Luma) -> float:
    return float(luma[::8, ::8].mean())
