"""Russell's circumplex: valence to the right, arousal up, a face's recent way and its place now.

J. A. Russell, A circumplex model of affect, Journal of Personality and Social Psychology 39(6),
1980: the words on the rim lie at the angles of his circular scaling of them, to a degree.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Final

import cv2

from edge.recordings.annotation.drawing.canvas import (
    DIM,
    GROUND,
    LINE,
    RAISED,
    TEXT,
    Colour,
    Picture,
    Rect,
    fill,
    write,
)
from edge.vision.values import Affect

WORDS: Final[tuple[tuple[str, int], ...]] = (
    ("happy", 8),
    ("delighted", 25),
    ("excited", 49),
    ("astonished", 70),
    ("tense", 93),
    ("afraid", 116),
    ("distressed", 138),
    ("miserable", 189),
    ("sad", 208),
    ("bored", 242),
    ("tired", 268),
    ("relaxed", 318),
    ("serene", 329),
    ("pleased", 353),
)
"""Words on the rim, and degrees from "pleasant" towards "excited"."""

TRAIL_NS: Final = 2_000_000_000
"""How much of a face's recent way is drawn."""

_FINE: Final = 4  # bits of a pixel's fraction in OpenCV's coordinates


@dataclass(frozen=True, slots=True)
class Trail:
    """Recent places of a face, oldest first; the last is the present one."""

    raw: tuple[Affect, ...]
    smoothed: tuple[Affect, ...]


@dataclass(frozen=True, slots=True)
class Circumplex:
    """A circumplex on a picture.

    Attributes:
        centre: x and y, pixels.
        radius: pixels.
        line_px: width of its lines.
    """

    centre: tuple[float, float]
    radius: float
    line_px: int = 1

    def draw_ground(self, picture: Picture) -> None:
        """Draw the square of all values, circle and axes."""
        x, y = self.centre
        side = 2 * self.radius
        fill(picture, Rect.at(x - self.radius, y - self.radius, side, side), RAISED)
        for part in (0.5, 1.0):
            self._dot(picture, self.centre, self.radius * part, LINE, self.line_px)
        self._line(picture, (x - self.radius, y), (x + self.radius, y), LINE)
        self._line(picture, (x, y - self.radius), (x, y + self.radius), LINE)

    def draw_words(self, picture: Picture, size_px: int) -> None:
        """Draw the names of the axes and the words on the rim, outside of the circle."""
        for word, degrees in WORDS:
            across, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            x = self.centre[0] + across * self.radius
            y = self.centre[1] - up * self.radius
            self._dot(picture, (x, y), 0.22 * size_px, DIM, -1)
            x += across * 0.7 * size_px
            y += 0.35 * size_px - up * 0.85 * size_px
            anchor = "middle" if abs(across) < 0.12 else "left" if across > 0 else "right"
            write(picture, word, (x, y), size_px, TEXT, anchor=anchor)
        small = round(0.82 * size_px)
        x, y = self.centre
        edge = self.radius - 0.5 * size_px
        write(picture, "valence →", (x - edge, y - 0.35 * size_px), small, DIM)
        write(picture, "↑ arousal", (x + 0.4 * size_px, y + edge), small, DIM)

    def draw_trail(self, picture: Picture, trail: Trail, colour: Colour, dot_px: float) -> None:
        """Draw raw points faintly, the smoothed way, and the present place.

        Args:
            picture: is drawn into.
            trail: not empty.
            colour: of the face.
            dot_px: radius of the present place.
        """
        faint = _mixed(colour, GROUND, 0.45)
        for point in trail.raw[:-1]:
            self._dot(picture, self.place(point), max(0.8, 0.25 * dot_px), faint, -1)
        for before, after in itertools.pairwise(trail.smoothed):
            self._line(picture, self.place(before), self.place(after), colour)
        if len(trail.smoothed) > 1:
            self._dot(picture, self.place(trail.raw[-1]), 0.45 * dot_px, TEXT, -1)
        place = self.place(trail.smoothed[-1])
        self._dot(picture, place, dot_px, GROUND, -1)
        self._dot(picture, place, 0.8 * dot_px, colour, -1)

    def place(self, point: Affect) -> tuple[float, float]:
        """Return where ``point`` lies, x and y in pixels: in the square around the circle."""
        x, y = self.centre
        return x + point.valence * self.radius, y - point.arousal * self.radius

    def _dot(
        self, picture: Picture, at: tuple[float, float], radius: float, colour: Colour, line_px: int
    ) -> None:
        cv2.circle(picture, _fine(at), round(radius * (1 << _FINE)), colour, line_px, cv2.LINE_AA,
                   _FINE)  # fmt: skip

    def _line(
        self, picture: Picture, start: tuple[float, float], end: tuple[float, float], colour: Colour
    ) -> None:
        cv2.line(picture, _fine(start), _fine(end), colour, self.line_px, cv2.LINE_AA, _FINE)


def _fine(at: tuple[float, float]) -> tuple[int, int]:
    return round(at[0] * (1 << _FINE)), round(at[1] * (1 << _FINE))


def _mixed(colour: Colour, ground: Colour, share: float) -> Colour:
    blue, green, red = (
        round(share * c + (1 - share) * g) for c, g in zip(colour, ground, strict=True)
    )
    return blue, green, red
