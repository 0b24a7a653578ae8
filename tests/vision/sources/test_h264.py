"""Parsing of H.264 headers that the test writes bit by bit."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from edge.vision.sources.h264 import PictureFormat, parse_header

U32 = st.integers(0, 2**20)
FLAG = st.integers(0, 1)


@dataclass
class Writer:
    """Collects the bits of a parameter set."""

    bits: list[str] = field(default_factory=list)

    def put(self, value: int, count: int) -> None:
        self.bits.append(format(value, f"0{count}b") if count else "")

    def golomb(self, value: int) -> None:
        code = format(value + 1, "b")
        self.bits.append("0" * (len(code) - 1) + code)

    def unit(self) -> bytes:
        """Return the unit with its header, trailing bit and emulation prevention."""
        text = "".join(self.bits) + "1"
        text += "0" * (-len(text) % 8)
        plain = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        guarded, zeros = bytearray(b"\x67"), 0
        for byte in plain:
            if zeros >= 2 and byte <= 3:
                guarded.append(3)
                zeros = 0
            guarded.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes(guarded)


@st.composite
def parameter_sets(draw: st.DrawFn) -> tuple[bytes, PictureFormat]:
    """A sequence parameter set in the order of clause 7.3.2.1.1, and its picture format."""
    out = Writer()
    profile = draw(st.sampled_from([66, 77, 88, 100, 110, 122, 244]))
    out.put(profile, 8)
    out.put(draw(st.integers(0, 65535)), 16)
    out.golomb(draw(st.integers(0, 31)))
    luma = True
    if profile >= 100:
        chroma, depth, separate = draw(st.integers(0, 3)), draw(st.integers(0, 6)), 0
        out.golomb(chroma)
        if chroma == 3:
            separate = draw(FLAG)
            out.put(separate, 1)
        out.golomb(depth)
        out.golomb(draw(st.integers(0, 6)))
        out.put(draw(FLAG), 1)
        luma = depth == 0 and not separate
        scaling = draw(FLAG)
        out.put(scaling, 1)
        for number in range((12 if chroma == 3 else 8) * scaling):
            write_scaling_list(out, draw, 16 if number < 6 else 64)
    out.golomb(draw(st.integers(0, 12)))
    order = draw(st.integers(0, 2))
    out.golomb(order)
    if order == 0:
        out.golomb(draw(st.integers(0, 12)))
    if order == 1:
        out.put(draw(FLAG), 1)
        offsets = draw(st.lists(U32, max_size=4))
        for value in (draw(U32), draw(U32), len(offsets), *offsets):
            out.golomb(value)
    out.golomb(draw(st.integers(0, 16)))
    out.put(draw(FLAG), 1)
    out.golomb(draw(st.integers(0, 500)))
    out.golomb(draw(st.integers(0, 500)))
    whole = draw(FLAG)
    out.put(whole, 1)
    if not whole:
        out.put(draw(FLAG), 1)
    out.put(draw(FLAG), 1)
    cropped = draw(FLAG)
    out.put(cropped, 1)
    for _ in range(4 * cropped):
        out.golomb(draw(U32))
    full_range = write_usability(out, draw)
    return out.unit(), PictureFormat(full_range if luma else None)


def write_scaling_list(out: Writer, draw: st.DrawFn, size: int) -> None:
    """Write one scaling list, complete, truncated or absent."""
    present = draw(FLAG)
    out.put(present, 1)
    if not present:
        return
    last = 8
    for scale in draw(st.lists(st.integers(1, 255), min_size=size, max_size=size)):
        step = (scale - last + 128) % 256 - 128
        out.golomb(2 * step - 1 if step > 0 else -2 * step)
        last = scale


def write_usability(out: Writer, draw: st.DrawFn) -> bool | None:
    """Write the beginning of the usability information (E.1.1); return the colour range."""
    present, full_range = draw(FLAG), False
    out.put(present, 1)
    if not present:
        return False
    aspect = draw(st.sampled_from([None, 1, 255]))
    out.put(aspect is not None, 1)
    if aspect is not None:
        out.put(aspect, 8)
        out.put(draw(st.integers(0, 2**32 - 1)), 32 if aspect == 255 else 0)
    overscan = draw(FLAG)
    out.put(overscan, 1)
    out.put(draw(FLAG), overscan)
    signal = draw(FLAG)
    out.put(signal, 1)
    matrix = 2
    if signal:
        out.put(5, 3)
        full_range = draw(st.booleans())
        out.put(full_range, 1)
        described = draw(FLAG)
        out.put(described, 1)
        if described:
            out.put(draw(st.integers(0, 65535)), 16)
            matrix = draw(st.integers(0, 9))
            out.put(matrix, 8)
    out.put(0, 12)
    return full_range if matrix else None


@given(parameter_sets(), st.booleans())
def test_written_header_is_parsed(written: tuple[bytes, PictureFormat], in_avcc: bool) -> None:
    unit, expected = written
    picture_parameters = b"\x68\xce\x0f\xc8"
    if in_avcc:
        header = b"\x01" + unit[1:4] + b"\xff\xe1" + len(unit).to_bytes(2, "big") + unit
        header += b"\x01\x00\x04" + picture_parameters
    else:
        header = b"\x00\x00\x00\x01" + unit + b"\x00\x00\x00\x01" + picture_parameters
    assert parse_header(header) == expected


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x00\x00\x00\x01\x67", b"\x01\x64\x00\x0c"]))
def test_any_bytes_can_be_parsed(data: bytes, before: bytes) -> None:
    found = parse_header(before + data)
    assert found is None or isinstance(found, PictureFormat)


@given(parameter_sets(), st.data())
def test_truncated_header_gives_nothing_wrong(
    written: tuple[bytes, PictureFormat], data: st.DataObject
) -> None:
    unit, expected = written
    kept = data.draw(st.integers(0, len(unit) - 1))
    assert parse_header(b"\x00\x00\x01" + unit[:kept]) in (None, expected)


def test_header_of_another_codec_gives_none() -> None:
    assert parse_header(bytes.fromhex("000001b31400b433ffffe018000001b5148a00010000")) is None
