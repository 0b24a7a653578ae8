"""Annotated videos, decoded again and compared with what was drawn and with the original."""

import os
import resource
import stat
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import VideoSource
from edge.errors import ConfigError, EndOfStream, LogFileError
from edge.recordings.annotation.annotate import Span, annotate_video
from edge.recordings.annotation.drawing.canvas import PALETTE
from edge.recordings.annotation.overlays import NewAnalysis
from edge.recordings.annotation.still import still_of_video
from edge.recordings.annotation.video_reader import Shown, VideoReader
from edge.recordings.settings import Settings
from edge.vision.sources import open_source
from tests.support.source_media import encode, ffmpeg
from tests.support.videos import (
    FixedOverlays,
    content_of,
    gradient,
    happy_face,
    make_video,
    unread_face,
    with_zeros,
)

SIZE = (320, 240)
WHOLE = Span()
BOX = (100.0, 60.0, 80.0, 90.0)
UNEVEN_MS = [0, 33, 70, 500, 3000, 3001, 4000, 4017, 4034, 9000]
PICTURES = [gradient(*SIZE, number) for number in range(len(UNEVEN_MS))]


def annotate(recording: Path, *, size: tuple[int, int] = SIZE, span: Span = WHOLE) -> Path:
    out = recording.with_name("out.mp4")
    annotate_video(recording, out, FixedOverlays([happy_face(1, BOX)], size), span=span)
    return out


def noise(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(count)]


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    return float(cv2.PSNR(np.ascontiguousarray(first), np.ascontiguousarray(second)))


def test_box_is_drawn_and_the_rest_is_the_original(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)

    found = content_of(annotate(recording))

    original = content_of(recording)
    assert found.codec == "h264"
    assert len(found.pictures) == len(PICTURES)
    for picture, before in zip(found.pictures, original.pictures, strict=True):
        edge = picture[70:140, 100].astype(int)  # left edge of the box, below the label
        assert np.abs(edge - PALETTE[0]).mean() < 60  # half of the colour's resolution is lost
        assert psnr_db(picture[100:215, :90], before[100:215, :90]) > 38


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_times_are_kept_at_a_variable_rate_and_with_holes(tmp_path: Path, name: str) -> None:
    recording = make_video(tmp_path / name, PICTURES, UNEVEN_MS)

    found = content_of(annotate(recording))

    assert found.times_s == [Fraction(time_ms, 1000) for time_ms in UNEVEN_MS]


def test_pictures_that_begin_after_the_sound_stay_behind_it(tmp_path: Path) -> None:
    times_ms = [400 + 40 * number for number in range(10)]
    recording = make_video(tmp_path / "in.mkv", PICTURES, times_ms, sound="libopus")

    found = content_of(annotate(recording))

    assert found.times_s[0] == Fraction(400, 1000)
    assert found.sound_start_s == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "sound"),
    [("in.mp4", "aac"), *(("in.mkv", each) for each in ("libopus", "ac3", "mp3", "flac", "alac"))],
)
def test_sound_is_copied(tmp_path: Path, name: str, sound: str) -> None:
    recording = make_video(tmp_path / name, PICTURES, sound=sound)

    found, original = content_of(annotate(recording)), content_of(recording)

    assert found.sound_codec == original.sound_codec
    assert [packet for _, packet in found.sound] == [packet for _, packet in original.sound]
    for (time_s, _), (before_s, _) in zip(found.sound, original.sound, strict=True):
        assert float(time_s) == pytest.approx(float(before_s), abs=0.001)


def test_sound_without_pictures_at_its_end_is_kept(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mkv", PICTURES, sound="libopus", sound_ms=3000)

    found, original = content_of(annotate(recording)), content_of(recording)

    assert [packet for _, packet in found.sound] == [packet for _, packet in original.sound]
    assert found.sound_seconds > 2.9


@pytest.mark.parametrize(("name", "sound"), [("in.avi", "pcm_s16le"), ("in.mkv", "pcm_s16le")])
def test_sound_that_mp4_cannot_hold_becomes_aac(tmp_path: Path, name: str, sound: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    recording = make_video(tmp_path / name, PICTURES, codec=codec, sound=sound)

    found, original = content_of(annotate(recording)), content_of(recording)

    assert found.sound_codec == "aac"
    assert found.sound_start_s == pytest.approx(original.sound_start_s, abs=0.002)
    assert found.sound_seconds == pytest.approx(original.sound_seconds, abs=0.05)


def test_transport_stream_keeps_sound_and_pictures_together(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.ts", PICTURES, sound="aac", time_base=Fraction(1, 90_000))

    found, original = content_of(annotate(recording)), content_of(recording)

    distance_s = float(found.times_s[0]) - found.sound_start_s
    assert distance_s == pytest.approx(
        float(original.times_s[0]) - original.sound_start_s, abs=0.001
    )


def test_part_of_a_recording_begins_at_zero(tmp_path: Path) -> None:
    pictures = [gradient(*SIZE, number) for number in range(100)]
    recording = make_video(tmp_path / "in.mp4", pictures, sound="aac")

    found = content_of(annotate(recording, span=Span(1_000_000_000, 2_000_000_000)))

    assert found.times_s == [Fraction(40 * number, 1000) for number in range(25)]
    assert psnr_db(found.pictures[0][100:215, :90], pictures[25][100:215, :90]) > 34
    assert found.sound_start_s == pytest.approx(0.0, abs=0.022)  # one packet of sound
    assert found.sound_seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_of_the_file_is_applied(tmp_path: Path, rotation: int) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES, rotation=rotation)
    size = SIZE if rotation == 180 else SIZE[::-1]

    found = content_of(annotate(recording, size=size))

    assert found.pictures[0].shape[1::-1] == size


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", ["in.mp4", "in.mov"])
def test_pictures_are_those_that_the_analysis_reads(
    tmp_path: Path, name: str, rotation: int
) -> None:
    recording = make_video(tmp_path / name, PICTURES, UNEVEN_MS, rotation=rotation)
    source = VideoSource(kind="video", path=str(recording))

    with VideoReader(recording) as video, open_source(source, small_size=(0, 0)) as frames:
        count = 0
        for item in video.items():
            assert isinstance(item, Shown)
            frame, picture = frames.read(), item.picture()
            assert (item.index, item.media_ns) == (frame.index, frame.sensor_ns)
            assert picture.shape[:2] == frame.luma.shape
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            assert np.abs(grey.astype(int) - frame.luma).mean() < 4
            count += 1
        with pytest.raises(EndOfStream):
            frames.read()
    assert count == len(PICTURES)


def assert_same_pictures(recording: Path) -> None:
    """Check that pictures are drawn into as they are analysed."""
    source = VideoSource(kind="video", path=str(recording))
    with VideoReader(recording) as video, open_source(source, small_size=(0, 0)) as frames:
        for item in video.items():
            assert isinstance(item, Shown)
            luma, picture = frames.read().luma, item.picture()
            assert picture.shape[:2] == luma.shape
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            assert np.abs(grey.astype(int) - luma).mean() < 4


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [("-display_hflip",), ("-display_vflip",)])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_mirrored_pictures_are_those_that_the_analysis_reads(
    tmp_path: Path, container: str, flip: tuple[str, ...], angle: int
) -> None:
    upright = encode(tmp_path / "upright.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    recording = tmp_path / f"in.{container}"
    display = ("-display_rotation", str(angle), *flip)
    ffmpeg(*display, "-i", upright, "-c", "copy", recording)

    assert_same_pictures(recording)


@pytest.mark.parametrize("shape", ["scale=160:180,setsar=2", "scale=320:90,setsar=1/2"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_pictures_with_oblong_pixels_are_those_that_the_analysis_reads(
    tmp_path: Path, shape: str, codec: str
) -> None:
    recording = encode(tmp_path / "in.mp4", "-vf", shape, "-c:v", codec, "-pix_fmt", "yuv420p")

    assert_same_pictures(recording)


@pytest.mark.parametrize("form", ["yuv420p10le", "gray", "yuv444p", "yuvj420p"])
def test_pictures_of_other_depths_and_ranges_are_those_that_the_analysis_reads(
    tmp_path: Path, form: str
) -> None:
    codec = "libx265" if form.endswith("10le") else "libx264"
    recording = encode(tmp_path / "in.mkv", "-c:v", codec, "-pix_fmt", form)

    assert_same_pictures(recording)


def test_configured_orientation_is_applied(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)
    overlays = FixedOverlays([happy_face(1, BOX)], SIZE[::-1], rotate_deg=90, flip="vertical")
    out = tmp_path / "out.mp4"

    annotate_video(recording, out, overlays)

    expected = cv2.flip(cv2.rotate(PICTURES[0], cv2.ROTATE_90_CLOCKWISE), 0)
    found = content_of(out).pictures[0]
    assert psnr_db(found[200:280, 150:], expected[200:280, 150:]) > 34


def test_odd_sizes_get_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    pictures = [gradient(321, 241)]
    recording = make_video(tmp_path / "in.avi", pictures, codec="rawvideo")

    found = content_of(annotate(recording, size=(321, 241)))

    assert found.pictures[0].shape == (242, 322, 3)


def test_one_picture_is_a_video(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES[:1])

    assert len(content_of(annotate(recording)).pictures) == 1


def test_result_is_private_and_leaves_nothing_else(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)

    out = annotate(recording)

    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_damaged_packets_are_left_out_and_counted(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "in.mp4", noise(50), options={"g": "10", "bf": "0"})
    recording = with_zeros(whole, {11, 12})
    out = tmp_path / "out.mp4"

    summary = annotate_video(recording, out, FixedOverlays([happy_face(1, BOX)], SIZE))

    found = content_of(out)
    assert len(found.pictures) == summary.pictures
    assert 40 <= summary.pictures <= 50
    assert found.times_s[-1] == Fraction(49 * 40, 1000)  # holes, nothing moved


def test_recording_cut_off_gives_what_it_holds(tmp_path: Path) -> None:
    pictures = [gradient(*SIZE, number) for number in range(100)]
    whole = make_video(tmp_path / "whole.mkv", pictures, sound="libopus")
    recording = tmp_path / "in.mkv"
    recording.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    found = content_of(annotate(recording))

    assert 10 < len(found.pictures) < 100


def test_results_of_another_size_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)

    with pytest.raises(ConfigError, match=r"pictures of 640x480 pixels.*320x240"):
        annotate(recording, size=(640, 480))

    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_part_without_pictures_is_refused(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mkv", PICTURES, UNEVEN_MS)

    with pytest.raises(ConfigError, match="not one picture between --start and --end"):
        annotate(recording, span=Span(5_000_000_000, 6_000_000_000))

    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", noise(20))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(LogFileError, match=r"out\.mp4: cannot be written: File too large"):
            annotate(recording)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("name", ["12:30.mp4", "concat:a.mp4", "with space & %d.mp4", "č.mp4"])
def test_any_name_is_read_and_written(tmp_path: Path, name: str) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)
    named = recording.rename(tmp_path / name)
    out = tmp_path / f"annotated {name}"

    annotate_video(named, out, FixedOverlays([happy_face(1, BOX)], SIZE))

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, out.name])


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", PICTURES)
    named = recording.rename(tmp_path / os.fsdecode(b"in\xff.mp4"))

    with pytest.raises(ConfigError, match="not UTF-8"):
        annotate(named)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    video = make_video(tmp_path / "in.mp4", PICTURES, sound="aac")
    recording = tmp_path / "in.m4a"
    ffmpeg("-i", video, "-vn", "-c", "copy", recording)

    with pytest.raises(ConfigError, match="no video in it"):
        annotate(recording)


def test_video_of_damaged_pictures_alone_is_refused(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "in.mp4", noise(5), options={"bf": "0"})

    with pytest.raises(ConfigError, match="not one picture could be decoded"):
        annotate(with_zeros(whole, set(range(5))))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    recording = tmp_path / "in.mp4"
    recording.write_bytes(b"not a video at all" * 100)

    with pytest.raises(ConfigError, match=r"in\.mp4.*no video in it"):
        annotate(recording)


def test_unread_faces_and_frames_without_results_are_drawn(tmp_path: Path) -> None:
    times_ms = [0, 40, 80, 120, 160, 600, 640, 680, 720, 760]
    recording = make_video(tmp_path / "in.mp4", PICTURES, times_ms)
    faces = [unread_face(1, BOX, "blurred", "turned_away")]
    out = tmp_path / "out.mp4"

    summary = annotate_video(recording, out, FixedOverlays(faces, SIZE, count=4))

    assert (summary.pictures, summary.without) == (10, 4)  # those after half a second
    held, without = (content_of(out).pictures[index] for index in (5, 9))
    assert psnr_db(without[40:200, 60:], PICTURES[9][40:200, 60:]) > 34
    assert psnr_db(held[40:200, 60:], PICTURES[5][40:200, 60:]) < 30


def test_results_of_every_fiftieth_picture_stay_until_the_next(tmp_path: Path) -> None:
    pictures = [gradient(*SIZE, number) for number in range(150)]
    recording = make_video(tmp_path / "in.mp4", pictures)
    overlays = FixedOverlays([happy_face(1, BOX)], SIZE, count=150, every=50)

    summary = annotate_video(recording, tmp_path / "out.mp4", overlays)

    assert (summary.pictures, summary.without) == (150, 0)


def test_pictures_before_the_part_are_progress(tmp_path: Path) -> None:
    pictures = [gradient(*SIZE, number) for number in range(30)]
    recording, out = make_video(tmp_path / "in.mp4", pictures), tmp_path / "out.mp4"
    config = Settings(purpose="safety").of_video(recording)
    times: list[int] = []

    annotate_video(
        recording, out, NewAnalysis(config), span=Span(1_000_000_000), on_progress=times.append
    )

    before = [time_ns for time_ns in times if time_ns < 1_000_000_000]
    assert len(before) == 2 * 25  # to draw into it, and to analyse it


def test_only_pictures_that_are_drawn_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [gradient(*SIZE, number) for number in range(30)]
    recording = make_video(tmp_path / "in.mp4", pictures)
    converted: list[object] = []
    convert = VideoReader._upright

    def counted(reader: VideoReader, *arguments: object) -> object:
        converted.append(arguments)
        return convert(reader, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(VideoReader, "_upright", counted)
    annotate(recording, span=Span(1_000_000_000))
    assert len(converted) == 5

    still_of_video(recording, 1_100_000_000, FixedOverlays([], SIZE, count=30), {})
    assert len(converted) == 6
