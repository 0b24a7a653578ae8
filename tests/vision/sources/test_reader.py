"""Pictures that OpenCV cannot decode, does not convert, or returns turned over or squeezed."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.vision.sources.decode import Plane
from edge.vision.sources.video import DEMO_CLIP, Video
from edge.vision.values import Frame
from tests.support.daemons import ROOT
from tests.support.source_media import encode, ffmpeg, with_damaged_packets

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
TV = ("-color_range", "tv")
FIELDS = ("-vf", "scale=320:192,setfield=tff")
IN_FIELDS = (*FIELDS, "-flags", "+ildct+ilme")
# name -> container, encoder options; every picture consists of two fields
INTERLACED = {
    "MPEG-2": ("mpg", (*IN_FIELDS, "-c:v", "mpeg2video")),
    "MPEG-4": ("avi", (*IN_FIELDS, "-c:v", "mpeg4")),
    "DV": ("dv", ("-vf", "scale=720:576,setfield=bff", "-c:v", "dvvideo", "-pix_fmt", "yuv420p")),
    "ProRes": ("mov", (*IN_FIELDS, "-c:v", "prores_ks")),
    "HEVC": ("mkv", (*FIELDS, "-c:v", "libx265", "-x265-params", "interlace=tff:log-level=none")),
    "H.264": ("mp4", (*IN_FIELDS, *H264)),
}


def read_all(path: Path) -> tuple[list[Frame], list[FrameRefused]]:
    """Return the frames of a file, and the refusals."""
    frames: list[Frame] = []
    refusals: list[FrameRefused] = []
    with Video(str(path)) as source:
        while True:
            try:
                frames.append(source.read())
            except FrameRefused as error:
                refusals.append(error)
            except EndOfStream:
                return frames, refusals


DAMAGED = {
    "H.264": ("mkv", (*H264, "-bf", "0")),
    "MJPEG": ("avi", ("-c:v", "mjpeg")),
    "VP9": ("webm", ("-c:v", "libvpx-vp9")),
    "ProRes": ("mov", ("-c:v", "prores_ks")),
}


@pytest.mark.parametrize("damaged", [{9}, {3, 4, 5, 20}, set(range(5, 25))], ids=len)
@pytest.mark.parametrize("codec", DAMAGED)
def test_a_file_is_read_to_its_end_past_damaged_packets(
    tmp_path: Path, codec: str, damaged: set[int], capfd: pytest.CaptureFixture[str]
) -> None:
    container, options = DAMAGED[codec]
    path = with_damaged_packets(
        encode(tmp_path / f"clip.{container}", *options, frames=30), damaged
    )
    frames, refusals = read_all(path)
    assert len(frames) + len(refusals) == 30
    assert len(refusals) >= len(damaged)  # VP9: and pictures that refer to them
    assert all("clip" in str(each) and "damaged packet" in str(each) for each in refusals)
    assert frames[-1].index == 29
    assert frames[-1].sensor_ns == 29 * 40_000_000
    assert capfd.readouterr().err == ""


QUIET = {"libx265": ("-x265-params", "log-level=none")}
SILENT = {
    "HEVC": ("mkv", ("-c:v", "libx265", *QUIET["libx265"])),
    "HEVC, MP4": ("mp4", ("-c:v", "libx265", *QUIET["libx265"])),
    "MPEG-2": ("mkv", ("-c:v", "mpeg2video", "-bf", "2")),
}


@pytest.mark.parametrize("damaged", [{9}, {3, 4, 5, 20}, {28, 29}], ids=str)
@pytest.mark.parametrize("codec", SILENT)
def test_pictures_that_a_decoder_leaves_out_are_counted(
    tmp_path: Path, codec: str, damaged: set[int]
) -> None:
    container, options = SILENT[codec]
    path = with_damaged_packets(
        encode(tmp_path / f"clip.{container}", *options, frames=30), damaged
    )
    frames, (refusal,) = read_all(path)
    assert refusal.count >= len(damaged)
    assert len(frames) + refusal.count == 30
    assert "clip-damaged" in str(refusal)


HEALTHY = {
    "hidden pictures": ("webm", ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16")),
    "reordered": ("ts", (*H264, "-bf", "3", "-x264-params", "open-gop=1")),
    "uneven": ("mp4", ("-vf", "select=not(mod(n\\,7))+lt(mod(n\\,11)\\,3)", "-fps_mode", "vfr")),
    "29.97": ("mkv", (*H264, "-r", "30000/1001")),
    "MPEG-4": ("avi", ("-c:v", "mpeg4", "-bf", "2")),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_no_picture_of_a_healthy_file_is_refused(tmp_path: Path, kind: str) -> None:
    container, options = HEALTHY[kind]
    frames, refusals = read_all(encode(tmp_path / f"clip.{container}", *options, frames=60))
    assert len(frames) >= 59  # of MPEG-4 with B-frames, AVI holds one less
    assert not refusals


def test_sound_before_the_first_picture_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"  # 12,000 packets of sound come first
    sound = ("-f", "lavfi", "-i", "sine=d=40")
    late = ("-itsoffset", "30", "-t", "0.4", "-i", DEMO_CLIP)
    audio = ("-c:a", "libopus", "-frame_duration", "2.5", "-b:a", "8k")
    ffmpeg(*sound, *late, "-map", "1:v", "-map", "0:a", "-vf", "scale=64:36", *H264, *audio, path)
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.vision.sources.test_reader import read_all\n"
        "print(*map(len, read_all(Path(sys.argv[1]))))"
    )  # in a process of its own: OpenCV reads its limit once
    command = [sys.executable, "-c", script, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == ["10", "0"]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pictures_before_a_trimmed_beginning_are_not_missed(tmp_path: Path, codec: str) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "trimmed.mp4"
    encode(whole, "-c:v", codec, "-g", "30", *QUIET.get(codec, ()), frames=80, seconds=0)
    ffmpeg("-ss", "1.5", "-i", whole, "-c", "copy", path)
    frames, refusals = read_all(path)
    assert 40 <= len(frames) < 80
    assert not refusals


def test_a_damaged_first_packet_does_not_hide_the_video(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.avi", "-c:v", "mjpeg", frames=10)
    frames, refusals = read_all(with_damaged_packets(whole, {0, 1}))
    assert [frame.index for frame in frames] == list(range(2, 10))
    assert len(refusals) == 2


def test_a_long_stretch_of_damaged_packets_is_not_the_end(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.avi", "-c:v", "mjpeg", frames=230, seconds=0)
    frames, refusals = read_all(with_damaged_packets(whole, set(range(10, 220))))
    assert (len(frames), len(refusals)) == (20, 210)


def test_a_file_whose_packets_are_all_damaged_is_a_configuration_error(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.avi", "-c:v", "mjpeg")
    with pytest.raises(ConfigError, match="no video in it"):
        read_all(with_damaged_packets(whole, set(range(6))))


@pytest.mark.parametrize("codec", INTERLACED)
def test_interlaced_video_is_refused_before_a_picture_is_read(
    tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    container, options = INTERLACED[codec]
    path = encode(tmp_path / f"fields.{container}", *options, frames=10)
    with pytest.raises(ConfigError, match="interlaced") as caught, Video(str(path)):
        pass
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("angle", ["90", "180"])
@pytest.mark.parametrize("codec", ["H.264", "HEVC", "ProRes"])
def test_turned_interlaced_video_is_refused(tmp_path: Path, codec: str, angle: str) -> None:
    container, options = INTERLACED[codec]
    upright = encode(tmp_path / f"upright.{container}", *options, frames=10)
    path = tmp_path / f"turned.{container}"
    ffmpeg("-display_rotation", angle, "-i", upright, "-c", "copy", path)
    with pytest.raises(ConfigError, match="interlaced"), Video(str(path)):
        pass


@pytest.mark.parametrize("frames", [1, 3])
def test_a_short_interlaced_video_is_refused(tmp_path: Path, frames: int) -> None:
    container, options = INTERLACED["MPEG-2"]
    path = encode(tmp_path / f"short.{container}", *options, frames=frames)
    with pytest.raises(ConfigError, match="interlaced"), Video(str(path)):
        pass


@pytest.mark.parametrize("grey", [0, 107, 128])  # 107: the value of memory that is not written
def test_progressive_video_that_may_hold_fields_may_begin_still(tmp_path: Path, grey: int) -> None:
    still = f"color=0x{grey:02x}{grey:02x}{grey:02x}:s=320x192:r=25:d=0.16"
    moving = ("-ss", "3", "-t", "0.24", "-i", DEMO_CLIP)
    joined = "[1:v]scale=320:192[moving];[0:v][moving]concat,format=yuvj444p"
    path = tmp_path / "still.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", still, *moving, "-filter_complex", joined, "-c:v", "libx264"),
        *("-x264-params", "fake-interlaced=1", "-qp", "1", path),
    )
    frames, refusals = read_all(path)
    assert len(frames) + len(refusals) == 10
    assert len(refusals) == (4 if grey == 107 else 0)
    assert len({frame.luma.tobytes() for frame in frames}) >= 6
    assert frames[-1].luma.max() > 100


def test_header_of_a_turned_h264_stream_is_found(tmp_path: Path) -> None:
    upright, turned = encode(tmp_path / "upright.mp4", *H264, *TV), tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", upright, "-c", "copy", turned)
    with Video(str(turned)) as source:
        assert source._reader.plane is Plane.LIMITED
        assert source.read().luma.shape == (320, 180)
