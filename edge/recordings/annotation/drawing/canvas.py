"""Text, rectangles and translucent areas on a picture, and the colours of the whole package.

Text is drawn by Pillow in DejaVu Sans, the font that Matplotlib brings: it has Latin, Greek and
Cyrillic letters, unlike the fonts of OpenCV. A letter that it lacks (Chinese, Arabic) is drawn as
an empty box.
"""

import importlib.util
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError

Picture = NDArray[np.uint8]
"""uint8 (height, width, 3), blue, green, red."""

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255 each."""

GROUND: Final[Colour] = (30, 24, 20)
RAISED: Final[Colour] = (44, 37, 32)
LINE: Final[Colour] = (84, 76, 70)
DIM: Final[Colour] = (186, 179, 174)
TEXT: Final[Colour] = (242, 239, 236)
UNREAD: Final[Colour] = (190, 186, 182)
"""Of a face that was not classified."""

PALETTE: Final[tuple[Colour, ...]] = (
    (92, 205, 255),  # amber
    (255, 190, 90),  # sky
    (150, 222, 120),  # green
    (200, 150, 255),  # pink
    (110, 140, 255),  # coral
    (235, 225, 100),  # cyan
    (255, 160, 190),  # violet
    (170, 235, 235),  # cream
)
"""Of faces; distinguishable for people who confuse red and green, and light enough for dark text
on them."""

_FONTS: Final = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}


class Rect(NamedTuple):
    """A rectangle: left, top, right and bottom in pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def at(cls, left: float, top: float, width: float, height: float) -> "Rect":
        """Return the rectangle of this size at ``left``, ``top``."""
        x, y = round(left), round(top)
        return cls(x, y, x + round(width), y + round(height))

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top

    def overlap(self, other: "Rect") -> int:
        """Return the common area, square pixels."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0, across) * max(0, down)

    def is_within(self, width: int, height: int) -> bool:
        """Return whether it lies in a picture of this size."""
        return min(self.left, self.top) >= 0 and self.right <= width and self.bottom <= height

    def clipped(self, picture: Picture) -> "Rect":
        """Return the part of it that lies in ``picture``; may be empty."""
        height, width = picture.shape[:2]
        left, top = min(max(0, self.left), width), min(max(0, self.top), height)
        return Rect(
            left, top, min(max(left, self.right), width), min(max(top, self.bottom), height)
        )


def fill(picture: Picture, area: Rect, colour: Colour, opacity: float = 1.0) -> None:
    """Fill a rectangle; ``opacity`` 0..1."""
    left, top, right, bottom = area.clipped(picture)
    part = picture[top:bottom, left:right]
    if not part.size:
        return
    if opacity >= 1.0:
        part[:] = colour
        return
    over = np.full_like(part, colour)
    part[:] = cv2.addWeighted(part, 1.0 - opacity, over, opacity, 0.0)


def write(
    picture: Picture,
    text: str,
    at: tuple[float, float],
    size_px: int,
    colour: Colour = TEXT,
    *,
    bold: bool = False,
    anchor: str = "left",
) -> None:
    """Draw a line of text.

    Args:
        picture: is drawn into.
        text: control characters are left out.
        at: x of the text's ``anchor``, and y of its baseline.
        size_px: height of a line's letters, pixels.
        colour: of the letters.
        bold: in the heavier font.
        anchor: ``left``, ``middle`` or ``right``.
    """
    mask, left, top = _mask(_clean(text), size_px, bold)
    shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor] * width_px(text, size_px, bold=bold)
    x, y = round(at[0] - shift) + left, round(at[1]) + top
    whole = Rect(x, y, x + mask.shape[1], y + mask.shape[0])
    area = whole.clipped(picture)
    if area.width <= 0 or area.height <= 0:
        return
    part = picture[area.top : area.bottom, area.left : area.right]
    share = mask[area.top - y : area.bottom - y, area.left - x : area.right - x, None]
    levels = share.astype(np.uint16)
    over = np.array(colour, np.uint16)
    part[:] = ((part * (255 - levels) + over * levels + 127) // 255).astype(np.uint8)


def width_px(text: str, size_px: int, *, bold: bool = False) -> int:
    """Return how far a line of text advances, pixels."""
    return _width(_clean(text), size_px, bold)


def fitted(text: str, size_px: int, limit_px: float, *, bold: bool = False) -> str:
    """Return ``text``, shortened by an ellipsis to ``limit_px`` pixels; empty if nothing fits."""
    if width_px(text, size_px, bold=bold) <= limit_px:
        return text
    for length in range(len(text) - 1, 0, -1):
        short = f"{text[:length].rstrip()}…"
        if width_px(short, size_px, bold=bold) <= limit_px:
            return short
    return ""


def clock_text(media_ns: int) -> str:
    """Return a time within a recording, such as ``1:02:03.45``."""
    hundredths = max(0, media_ns) // 10_000_000
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest // 100:02}.{rest % 100:02}"


def require_pillow() -> None:
    """Check that text can be drawn.

    Raises:
        ConfigError: Pillow or the font is missing.
    """
    _font(12, bold=False)


@lru_cache(maxsize=2048)
def _width(text: str, size_px: int, bold: bool) -> int:
    return round(float(_font(size_px, bold=bold).getlength(text)))


@lru_cache(maxsize=1024)  # a frame shows some dozens, most of them again in the next
def _mask(text: str, size_px: int, bold: bool) -> tuple[Picture, int, int]:
    """Return a text's coverage, uint8 (height, width), and its left and top from the baseline."""
    from PIL import Image, ImageDraw  # noqa: PLC0415

    font = _font(size_px, bold=bold)
    left, top, right, bottom = (round(float(side)) for side in font.getbbox(text, anchor="ls"))
    image = Image.new("L", (max(1, right - left + 1), max(1, bottom - top + 1)))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return np.asarray(image), left, top


@lru_cache(maxsize=64)
def _font(size_px: int, *, bold: bool) -> Any:
    try:
        from PIL import ImageFont  # noqa: PLC0415

        found = importlib.util.find_spec("matplotlib")
        folders = (found.submodule_search_locations or []) if found else []
        path = Path(next(iter(folders))) / "mpl-data" / "fonts" / "ttf" / _FONTS[bold]
        return ImageFont.truetype(str(path), size_px)
    except (ImportError, StopIteration, OSError) as error:
        raise ConfigError(
            "drawing needs the packages Pillow and matplotlib: pip install"
            " 'affect-edge[recordings]'"
        ) from error


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    """Return ``text`` without control characters, and with a space for what begins a new line."""
    categories = {each: unicodedata.category(each) for each in text}
    return "".join(
        " " if categories[each] in ("Zl", "Zp") else each  # Pillow refuses the latter
        for each in text
        if categories[each][0] != "C"
    )


def dashed_rectangle(picture: Picture, area: Rect, colour: Colour, width: int, dash: int) -> None:
    """Draw a dashed frame along the edges of ``area``; ``dash`` is the length of dash and gap."""
    left, top, right, bottom = area.left, area.top, area.right - 1, area.bottom - 1
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(picture, (x, y), (min(x + dash, right), y), colour, width)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(picture, (x, y), (x, min(y + dash, bottom)), colour, width)
