"""Folders of pictures: formats, order, and refused files."""

import os
import socket
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.vision.sources.images import Images, read_grey
from edge.vision.values import Luma


def write(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def noise(seed: int, *shape: int) -> Luma:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_pictures_are_sorted_by_name_and_numbers_in_names_by_value(tmp_path: Path) -> None:
    names = [
        "9.pgm", "10.bmp", "a.PNG", "b.png", "b1.png", "b1x.png", "b02.png", "b2.png", "b10.png",
        "c.jpeg", "d.JPG", "e.webp", "f.tif", "g.tiff",
    ]  # fmt: skip
    for number, name in reversed(list(enumerate(names))):
        ok, coded = cv2.imencode(Path(name).suffix.lower(), np.full((8, 8), 10 * number, np.uint8))
        assert ok
        (tmp_path / name).write_bytes(coded.tobytes())
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    with Images(str(tmp_path), rate_hz=4.0) as source:
        frames = [source.read() for _ in names]
        with pytest.raises(EndOfStream):
            source.read()
    assert [frame.file for frame in frames] == names
    levels = [round(float(frame.luma.mean()), -1) for frame in frames]
    assert levels == [10 * number for number in range(len(names))]
    assert [frame.sensor_ns for frame in frames] == [i * 250_000_000 for i in range(len(names))]


@settings(max_examples=25)
@given(
    luma=npst.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    suffix=st.sampled_from([".png", ".bmp", ".pgm", ".tiff"]),
)
def test_lossless_grey_picture_is_unchanged(
    luma: Luma, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("grey") / f"picture{suffix}", luma)
    assert np.array_equal(read_grey(path), luma)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write(tmp_path / f"deep{suffix}", luma.astype(np.uint16) * 257)
    assert np.array_equal(read_grey(path), luma)


def test_colour_becomes_grey_and_transparency_is_ignored(tmp_path: Path) -> None:
    colour = noise(1, 20, 30, 3)
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    transparent = np.dstack([colour, noise(2, 20, 30)])
    for name, picture in (("colour.png", colour), ("transparent.png", transparent)):
        apart = cv2.absdiff(read_grey(write(tmp_path / name, picture)), grey)
        assert int(apart.max()) <= 1


def test_picture_is_rotated_by_its_exif_tag(tmp_path: Path) -> None:
    luma = np.zeros((20, 40), np.uint8)
    luma[:, 30:] = 255  # white at the right
    coded = cv2.imencode(".jpg", luma)[1].tobytes()
    # a minimal EXIF block: little-endian TIFF, one entry, orientation (0x0112) 6: turn right
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    block = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00"
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    (tmp_path / "turned.jpg").write_bytes(coded[:2] + marker + coded[2:])
    turned = read_grey(tmp_path / "turned.jpg")
    assert turned.shape == (40, 20)
    assert turned[35:].mean() > 250, "what was right is at the bottom"


def test_smallest_and_very_large_picture(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((1, 1), 7, np.uint8))
    write(tmp_path / "b.png", np.zeros((6000, 8000), np.uint8))
    with Images(str(tmp_path), rate_hz=1.0) as source:
        assert source.read().luma.tolist() == [[7]]
        assert source.read().luma.shape == (6000, 8000)


def test_unreadable_picture_is_refused_and_the_next_one_is_read(tmp_path: Path) -> None:
    good = cv2.imencode(".png", noise(3, 64, 64))[1].tobytes()
    too_wide = bytearray(good)
    too_wide[16:24] = (900_000).to_bytes(4, "big") * 2  # the size stated in the header
    too_wide[29:33] = zlib.crc32(too_wide[12:29]).to_bytes(4, "big")
    (tmp_path / "0.png").write_bytes(good)
    (tmp_path / "1.jpg").write_text("this is text")
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "4.png").write_bytes(too_wide)
    (tmp_path / "5.png").write_bytes(good[:20])
    (tmp_path / "6.webp").write_bytes(b"RIFF\x00\x00\x00\x00WEBPVP8 ")
    (tmp_path / "7.tif").write_bytes(b"II*\x00\xff\xff\xff\xff")
    (tmp_path / "8.png").write_bytes(good)
    with Images(str(tmp_path), rate_hz=1.0, first_index=100) as source:
        assert source.read().index == 100
        for number, suffix in enumerate(("jpg", "png", "png", "png", "png", "webp", "tif"), 1):
            with pytest.raises(FrameRefused, match=rf"^{number}\.{suffix}: .") as caught:
                source.read()
            assert "\n" not in str(caught.value)
        last = source.read()
    assert last.index == 108
    assert last.sensor_ns == 8_000_000_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "no pictures in it"),
        (lambda path: path.write_text("a file"), "Not a directory"),
        (lambda path: None, "No such file"),
    ],
    ids=["empty", "file", "absent"],
)
def test_path_that_is_no_folder_of_pictures_is_a_configuration_error(
    tmp_path: Path, make: object, message: str
) -> None:
    make(tmp_path / "in")  # type: ignore[operator]
    with (
        pytest.raises(ConfigError, match=message) as caught,
        Images(str(tmp_path / "in"), rate_hz=1.0),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    for name in ("b.heic", "c.HEIC", "d.dng", "notes", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "more").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        with Images(str(tmp_path), rate_hz=1.0) as source:
            assert source.details == {
                "files": 1,
                "left_out": {
                    ".dng": 1, ".heic": 2, "device": 1, "folder": 2, "pipe": 2, "socket": 1,
                    "without suffix": 1,
                },
                "bits": None,
            }  # fmt: skip
            assert source.read().file == "a.png"
            with pytest.raises(EndOfStream):
                source.read()


def test_of_many_kinds_left_out_the_most_common_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    for number in range(30):
        (tmp_path / f"x.{number}").touch()
    (tmp_path / "y.7").touch()
    with Images(str(tmp_path), rate_hz=1.0) as source:
        left_out = source.details["left_out"]
    assert len(left_out) == 11
    assert (left_out[".7"], left_out["other"]) == (2, 20)


def test_a_folder_of_other_files_names_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.heic").touch()
    (tmp_path / "b").mkdir()
    with (
        pytest.raises(ConfigError, match=r"no pictures in it \(1 \.heic, 1 folder\); expected"),
        Images(str(tmp_path), rate_hz=1.0),
    ):
        pass


def test_a_file_that_becomes_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / name, np.zeros((8, 8), np.uint8))
    with Images(str(tmp_path), rate_hz=1.0) as source:
        (tmp_path / "a.png").unlink()
        os.mkfifo(tmp_path / "a.png")
        with pytest.raises(FrameRefused, match=r"^a\.png: not a regular file"):
            source.read()
        assert source.read().index == 1


def test_a_name_that_is_not_utf8_is_read_and_shown_with_a_replacement(tmp_path: Path) -> None:
    good = cv2.imencode(".png", noise(3, 8, 8))[1].tobytes()
    for name, content in ((b"b\xe4.png", good), (b"c\xe4.jpg", b""), (b"d.\xe4", b"")):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(content)
    with Images(str(tmp_path), rate_hz=1.0) as source:
        assert source.details["left_out"] == {".\N{REPLACEMENT CHARACTER}": 1}
        assert source.read().file == "b\N{REPLACEMENT CHARACTER}.png"
        with pytest.raises(FrameRefused, match="an empty file") as caught:
            source.read()
    assert str(caught.value).startswith("c\N{REPLACEMENT CHARACTER}.jpg: ")
