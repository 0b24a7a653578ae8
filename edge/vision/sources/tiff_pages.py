"""Lists the pages of a TIFF that are pictures.

Formats: TIFF 6.0, section 2, and BigTIFF, which has 8-byte offsets and counts.
"""

import struct
from typing import Final, NamedTuple

_PAGES_MAX: Final = 100_000  # a damaged TIFF may chain its pages for ever
_KIND: Final = 254  # NewSubfileType
_REDUCED_OR_MASK: Final = 0b101
_PHOTOMETRIC: Final = 262  # PhotometricInterpretation
_WHITE_IS_ZERO: Final = 0


class TiffPage(NamedTuple):
    """One page.

    Attributes:
        number: its number among all pages, from 0.
        white_is_zero: whether the value 0 is white, and the largest black.
    """

    number: int
    white_is_zero: bool


def tiff_pages(content: bytes | memoryview) -> list[TiffPage]:
    """Return the pages of a TIFF without reduced copies and masks; empty if it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(content[:2]))
    if order is None:
        return []

    def number(form: str, at: int) -> int:
        value: int = struct.unpack_from(order + form, content, at)[0]
        return value

    pages: list[TiffPage] = []
    try:
        big = {42: False, 43: True}[number("H", 2)]
        offset_form, count_form, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        at = number(offset_form, 8 if big else 4)
        for page in range(_PAGES_MAX):
            if at == 0:
                break
            entries = number(count_form, at)
            first = at + struct.calcsize(order + count_form)
            kind, photometric = 0, 1
            for each in range(first, first + entries * entry, entry):
                tag, value_at = number("H", each), each + (12 if big else 8)
                if tag == _KIND:
                    kind = number("I", value_at)
                elif tag == _PHOTOMETRIC:
                    photometric = number("H", value_at)
            if not kind & _REDUCED_OR_MASK:
                pages.append(TiffPage(page, photometric == _WHITE_IS_ZERO))
            at = number(offset_form, first + entries * entry)
    except (KeyError, struct.error, OverflowError):  # damaged: what was found so far
        pass
    return pages
