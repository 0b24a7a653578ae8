"""Parses the colour range from the sequence parameter set of an H.264 stream.

Names and order of the fields are those of Rec. ITU-T H.264, clauses 7.3.2.1.1 and E.1.1.
"""

from dataclasses import dataclass, field
from typing import Final

_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134})
_EXTENDED_ASPECT: Final = 255
_NAL_SEQUENCE_PARAMETERS: Final = 7


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """Format of the pictures of a stream.

    Attributes:
        full_range: whether black is 0 (True) or 16 (False); None if the first plane is not 8-bit
            luma.
        geometry: width, height and cropping as the stream codes them; equal for one size.
    """

    full_range: bool | None
    geometry: tuple[int, ...] = field(default=(), compare=False)


def parse_header(header: bytes) -> PictureFormat | None:
    """Return the picture format from the decoder's extra data; None if truncated or not H.264.

    Both formats are supported: Annex B (start codes) and ``avcC``.
    """
    unit = _sequence_parameters(header)
    if unit is None:
        return None
    try:
        return _parse_format(_BitReader(unit))
    except IndexError:
        return None


def _sequence_parameters(header: bytes) -> bytes | None:
    """Return the payload of the first sequence parameter set, emulation bytes removed."""
    if header[:1] == b"\x01" and len(header) > 8:  # avcC: size and unit follow six bytes
        units = [header[8 : 8 + int.from_bytes(header[6:8], "big")]]
    else:
        units = header.split(b"\x00\x00\x01")[1:]
    for unit in units:
        if unit and unit[0] & 0x9F == _NAL_SEQUENCE_PARAMETERS:
            return unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
    return None


def _parse_format(bits: "_BitReader") -> PictureFormat:
    """Parse a sequence parameter set without its first byte."""
    eight_bit = _parse_depth(bits)
    geometry = _parse_geometry(bits)
    # limited range is the default if the field is absent
    full_range = _parse_range(bits) if bits.read(1) else False  # vui_parameters_present_flag
    return PictureFormat(full_range if eight_bit else None, geometry)


def _parse_depth(bits: "_BitReader") -> bool:
    """Parse up to the scaling lists; return whether the first plane is luma of 8 bits."""
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level
    bits.exp_golomb()  # seq_parameter_set_id
    if profile not in _WITH_CHROMA_FORMAT:
        return True
    chroma_format = bits.exp_golomb()
    separate = chroma_format == 3 and bits.read(1) == 1  # separate_colour_plane_flag
    depth = 8 + bits.exp_golomb()  # bit_depth_luma_minus8
    bits.exp_golomb()  # bit_depth_chroma_minus8
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.read(1):  # seq_scaling_matrix_present_flag
        for number in range(12 if chroma_format == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return depth == 8 and not separate


def _parse_geometry(bits: "_BitReader") -> tuple[int, ...]:
    """Parse up to the video usability information; return the codes of the size."""
    bits.exp_golomb()  # log2_max_frame_num_minus4
    order = bits.exp_golomb()  # pic_order_cnt_type
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.read(1)
        bits.exp_golomb()
        bits.exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb()  # max_num_ref_frames
    bits.read(1)
    geometry = [bits.exp_golomb(), bits.exp_golomb()]  # width and height in macroblocks
    geometry.append(bits.read(1))  # frame_mbs_only_flag
    if not geometry[-1]:
        bits.read(1)
    bits.read(1)
    if bits.read(1):  # frame_cropping_flag
        geometry += [bits.exp_golomb() for _ in range(4)]
    return tuple(geometry)


def _parse_range(bits: "_BitReader") -> bool | None:
    """Parse the video usability information up to the range; None if the planes are RGB."""
    if bits.read(1) and bits.read(8) == _EXTENDED_ASPECT:
        bits.read(32)
    if bits.read(1):  # overscan_info_present_flag
        bits.read(1)
    if not bits.read(1):  # video_signal_type_present_flag
        return False
    bits.read(3)  # video_format
    full_range = bool(bits.read(1))
    if bits.read(1):  # colour_description_present_flag
        bits.read(16)
        if bits.read(8) == 0:  # matrix_coefficients: the planes are green, blue and red
            return None
    return full_range


def _skip_scaling_list(bits: "_BitReader", size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            code = bits.exp_golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        last = following or last


class _BitReader:
    """Reads bits, most significant first; IndexError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._remaining = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as an unsigned number."""
        self._remaining -= count
        if self._remaining < 0:
            raise IndexError("beyond the end of the parameter set")
        return self._value >> self._remaining & (1 << count) - 1

    def exp_golomb(self) -> int:
        """Return the next exponential-Golomb code, ``ue(v)``."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise IndexError("no exponential-Golomb code")
        return (1 << zeros) - 1 + self.read(zeros)
