"""Picture files: several pictures in one, more than 8 bits, decoders that write to stderr."""

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import EndOfStream, FrameRefused
from edge.vision.sources.images import Images, read_grey
from edge.vision.values import Frame
from tests.support.tiff import tiff

LEVELS = (10, 120, 230)
GREYS = [np.full((24, 32), level, np.uint8) for level in LEVELS]


def frames_of(folder: Path, **options: object) -> list[Frame | str]:
    """Return every frame of a folder, or the text of its refusal."""
    read: list[Frame | str] = []
    with Images(str(folder), 1.0, **options) as source:  # type: ignore[arg-type]
        while True:
            try:
                read.append(source.read())
            except FrameRefused as error:
                read.append(str(error))
            except EndOfStream:
                return read


def animation(path: Path, frames: int = 3) -> None:
    moving = cv2.Animation()
    moving.frames = [cv2.merge([GREYS[number % 3]] * 3) for number in range(frames)]
    moving.durations = [100] * frames
    assert cv2.imwriteanimation(str(path), moving)


# -- how a picture is to be shown ------------------------------------------------------------------


def chunk(suffix: str, content: bytes) -> bytes:
    """Return an EXIF chunk of a PNG or WebP file."""
    if suffix == ".png":
        kind = b"eXIf" + content
        return len(content).to_bytes(4, "big") + kind + zlib.crc32(kind).to_bytes(4, "big")
    return b"EXIF" + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


@pytest.mark.parametrize("stated", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation_is_turned_as_a_still_picture(
    tmp_path: Path, suffix: str, stated: int
) -> None:
    luma = np.full((24, 40), 60, np.uint8)
    luma[:8, :10], luma[:8, 30:], luma[16:, :10] = 250, 150, 10
    moving = cv2.Animation()
    moving.frames = [cv2.merge([luma] * 3), cv2.merge([255 - luma] * 3)]
    moving.durations = [100, 100]
    quality = [cv2.IMWRITE_WEBP_QUALITY, 101]  # lossless
    coded = cv2.imencodeanimation(suffix, moving, quality if suffix == ".webp" else [])[1].tobytes()
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([stated, 0, 0, 0]) + bytes(4)
    if suffix == ".png":
        coded = coded[:33] + chunk(suffix, exif) + coded[33:]  # behind the header
    else:
        coded += chunk(suffix, exif)
        coded = coded[:4] + (len(coded) - 8).to_bytes(4, "little") + coded[8:]
    (tmp_path / f"moving{suffix}").write_bytes(coded)
    still = cv2.imencode(".png", luma)[1].tobytes()
    (tmp_path / "still.png").write_bytes(still[:33] + chunk(".png", exif) + still[33:])
    first, second, expected = (frame.luma for frame in frames_of(tmp_path))
    assert np.array_equal(first, expected)
    assert np.array_equal(second, 255 - expected)


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("largest", [0xFF, 0x0FFF, 0xFFFF])
def test_a_tiff_with_white_zero_is_not_inverted(tmp_path: Path, pages: int, largest: int) -> None:
    dark_to_bright = np.tile(np.linspace(largest, 0, 64), (32, 1))
    values = dark_to_bright.astype(np.uint8 if largest == 0xFF else np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff([values] * pages, white_is_zero=True))
    frames = frames_of(tmp_path)
    assert len(frames) == pages
    for frame in frames:
        assert frame.luma[0, 0] == 0
        assert frame.luma[0, -1] == 255
        assert np.all(np.diff(frame.luma[0].astype(int)) >= 0)


# -- several pictures in one file ------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png", ".gif"])
def test_every_picture_of_a_file_is_a_frame(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREYS[0])
    if suffix == ".tif":
        (tmp_path / "b.tif").write_bytes(tiff(GREYS))
    else:
        animation(tmp_path / f"b{suffix}")
    cv2.imwrite(str(tmp_path / "c.png"), GREYS[2])
    frames = frames_of(tmp_path)
    assert [frame.page for frame in frames] == [None, 1, 2, 3, None]
    assert [frame.file for frame in frames] == ["a.png", *[f"b{suffix}"] * 3, "c.png"]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.sensor_ns for frame in frames] == [number * 10**9 for number in range(5)]
    levels = [float(frame.luma.mean()) for frame in frames]
    assert levels == pytest.approx([10, *LEVELS, 230], abs=1.5)  # GIF has 256 colours
    assert read_grey(tmp_path / f"b{suffix}").mean() == pytest.approx(10, abs=1.5)


def test_a_long_animation_is_read_to_its_end(tmp_path: Path) -> None:
    animation(tmp_path / "a.webp", frames=19)
    assert [frame.page for frame in frames_of(tmp_path)] == list(range(1, 20))


@pytest.mark.parametrize("order", ["<", ">"])
def test_reduced_copies_and_masks_of_a_tiff_are_no_pictures(tmp_path: Path, order: str) -> None:
    small = GREYS[0][::4, ::4]
    pages = [small, GREYS[1], small, GREYS[2], GREYS[0]]
    (tmp_path / "a.tif").write_bytes(tiff(pages, kinds=[1, 0, 1, 2, 4], order=order))
    frames = frames_of(tmp_path)
    assert [(frame.page, frame.luma[0, 0]) for frame in frames] == [(1, 120), (2, 230)]


def test_a_damaged_page_is_refused_and_the_next_file_is_read(tmp_path: Path) -> None:
    whole = tiff(GREYS)
    (tmp_path / "a.tif").write_bytes(whole)
    damaged = bytearray(whole)
    pixels_of_second = whole.index(GREYS[1].tobytes())
    at = whole.index(pixels_of_second.to_bytes(4, "little"), pixels_of_second)
    damaged[at : at + 4] = b"\xff\xff\xff\x7f"  # the offset of its pixels
    (tmp_path / "b.tif").write_bytes(damaged)
    cv2.imwrite(str(tmp_path / "c.png"), GREYS[0])
    read = frames_of(tmp_path)
    assert read[4].startswith("b.tif, page 2: cannot be decoded")
    assert [frame.index for frame in read if isinstance(frame, Frame)] == [0, 1, 2, 3, 5, 6]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif"])
def test_a_truncated_animation_takes_one_number(tmp_path: Path, suffix: str) -> None:
    animation(tmp_path / f"a{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(content[: len(content) * 2 // 3])
    cv2.imwrite(str(tmp_path / "b.png"), GREYS[0])
    refused, frame = frames_of(tmp_path)
    assert refused.startswith(f"a{suffix}: its animation cannot be decoded")
    assert frame.index == 1


def test_a_tiff_whose_pages_form_a_ring_ends(tmp_path: Path) -> None:
    content = bytearray(tiff(GREYS[:1]))
    content[-4:] = content[4:8]  # its next page is itself
    (tmp_path / "a.tif").write_bytes(content)
    assert frames_of(tmp_path)[0].luma.shape == (24, 32)


# -- more than 8 bits ------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)


def deep(bits: int, share: float = 1.0) -> np.ndarray:
    """Return a ramp up to a share of white in the lower ``bits`` of 16."""
    return np.round(RAMP * share * ((1 << bits) - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_fewer_bits_in_sixteen_reach_white(tmp_path: Path, bits: int, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), deep(bits))
    luma = read_grey(path)
    assert (int(luma.min()), int(luma.max())) == (0, 255)
    assert np.abs(luma.astype(int) - (RAMP * 255).astype(int)).max() <= 1


@pytest.mark.parametrize("maximum", [15, 100, 254, 255, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("form", ["P2", "P5"])
def test_a_graymap_is_scaled_by_the_maximum_in_its_header(
    tmp_path: Path, maximum: int, form: str
) -> None:
    values = np.round(RAMP / 2 * maximum).astype(">u2" if maximum > 255 else np.uint8)
    body = (
        values.tobytes() if form == "P5" else b" ".join(b"%d" % v for v in values.ravel()) + b"\n"
    )
    header = f"{form}\n# made by a camera 12\n16 16\n{maximum}\n"
    (tmp_path / "a.pgm").write_bytes(header.encode() + body)
    luma = read_grey(tmp_path / "a.pgm")
    assert np.abs(luma - RAMP / 2 * 255).max() <= 0.5 * 255 / maximum + 1


def test_a_dark_picture_keeps_the_depth_of_its_folder(tmp_path: Path) -> None:
    for number, share in enumerate([0.1, 1.0, 0.2, 0.05]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), deep(12, share))
    with Images(str(tmp_path), 1.0) as source:
        assert source.details == {"files": 4, "left_out": {}, "bits": 12}
    brightest = [int(frame.luma.max()) for frame in frames_of(tmp_path)]
    assert brightest == [25, 255, 51, 12]


def test_the_configured_depth_wins(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), deep(12, 0.1))
    assert [int(frame.luma.max()) for frame in frames_of(tmp_path, bits=12)] == [25]
    assert [int(frame.luma.max()) for frame in frames_of(tmp_path, bits=16)] == [1]


def test_a_picture_of_fractions_is_refused_by_its_type(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.tif"), RAMP)
    with pytest.raises(FrameRefused, match=r"^0\.tif: values of type float32; expected whole num"):
        read_grey(tmp_path / "0.tif")


# -- lines of the decoders -------------------------------------------------------------------------

READ = """
import os, sys
from pathlib import Path
from edge.errors import FrameRefused
from edge.vision.sources.images import read_grey
for name in sys.argv[1:]:
    try:
        read_grey(Path(name))
    except FrameRefused as error:
        print(error)
print("own line", file=sys.stderr)
"""


def test_lines_of_the_decoders_stay_out_of_the_log(tmp_path: Path) -> None:
    content = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8))[1]
    damaged = warned = content.tobytes()
    (tmp_path / "damaged.png").write_bytes(damaged[:2000] + bytes(50) + damaged[2050:])
    profile = b"\0\0\0\x06iCCPx\0\0bad" + bytes(4)  # wrong profile and checksum: a warning
    (tmp_path / "warned.png").write_bytes(warned[:33] + profile + warned[33:])
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "damaged.png", tmp_path / "warned.png"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == "own line\n"
    assert done.stdout.startswith("damaged.png: cannot be decoded (libpng error: ")
