"""Draws overlays over the frames of a video: boxes, labels, bars and circumplexes."""

from collections import deque
from typing import Final

import cv2

from edge.recordings.annotation.drawing.canvas import (
    DIM,
    GROUND,
    LINE,
    PALETTE,
    TEXT,
    UNREAD,
    Colour,
    Picture,
    Rect,
    clock_text,
    dashed_rectangle,
    fill,
    fitted,
    width_px,
    write,
)
from edge.recordings.annotation.drawing.circumplex import TRAIL_NS, Circumplex, Trail
from edge.recordings.annotation.drawing.layout import Layout, Placed, Wanted
from edge.recordings.annotation.overlay import Emotion, FaceOverlay, FrameOverlay
from edge.vision.values import Affect
from edge.vocabulary import EXPRESSIONS

SHOWN_EXPRESSIONS: Final = 3
PANEL_OPACITY: Final = 0.86

_TEXT_PX_MIN: Final = 10
_PARTS: Final = 46  # lines of text in the height of a picture


class FrameDrawer:
    """Draws the overlays of a video, frame by frame, in the order of time. Not thread-safe.

    Args:
        size: width and height of the pictures, pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self.text_px = max(_TEXT_PX_MIN, round(min(width * 9 / 16, height) / _PARTS))
        self.line_px = max(2, round(self.text_px / 8))
        self._size = size
        self._layout = Layout(size, round(0.5 * self.text_px))
        self._colours: dict[str, Colour] = {}
        self._trails: dict[int, deque[tuple[int, Affect, Affect]]] = {}
        self._panel = _Panel(self.text_px)

    def draw(self, picture: Picture, overlay: FrameOverlay | None, media_ns: int,
             remark: str = "") -> None:  # fmt: skip
        """Draw into ``picture``; an ``overlay`` of None is that of a frame without results.

        Args:
            picture: of the size of this drawer.
            overlay: the faces.
            media_ns: time within the file, for the clock in the corner.
            remark: behind the clock.
        """
        clock = self._clock(media_ns, remark)
        faces = overlay.faces if overlay else ()
        self._note(faces, overlay.media_ns if overlay else media_ns)
        wanted = [self._wanted(face) for face in faces]
        places = self._layout.place(wanted, [clock])
        for face, want in zip(faces, wanted, strict=True):
            self._draw_box(picture, face, want.box)
        for face, place in zip(faces, places, strict=True):
            self._draw_label(picture, face, place)
            if place.panel is not None and face.emotion is not None:
                trail = self._trail(face.track)
                self._panel.draw(picture, place.panel, face.emotion, trail, self.colour(face))
        self._draw_clock(picture, clock, media_ns, remark)

    def colour(self, face: FaceOverlay) -> Colour:
        """Return the colour of a face: the same for all tracks of a participant."""
        if face.name not in self._colours:
            self._colours[face.name] = PALETTE[len(self._colours) % len(PALETTE)]
        return self._colours[face.name] if face.emotion else UNREAD

    # -- one face ----------------------------------------------------------------------------------

    def _wanted(self, face: FaceOverlay) -> Wanted:
        x, y, width, height = face.box
        box = Rect.at(x, y, width, height)
        high = round(1.45 * self.text_px)
        long, short = (
            (width_px(text, self.text_px, bold=True) + self.text_px, high)
            for text in (self._label(face), face.name)
        )
        limit = self._size[0]
        panel = self._panel.size if face.emotion else None
        return Wanted(
            face.track, box, (min(long[0], limit), high), (min(short[0], limit), high), panel
        )

    def _label(self, face: FaceOverlay) -> str:
        result = (
            face.emotion.stable_label
            if face.emotion
            else ", ".join(reason.replace("_", " ") for reason in face.reasons)
        )
        return f"{face.name} · {result}" if result else face.name

    def _draw_box(self, picture: Picture, face: FaceOverlay, box: Rect) -> None:
        colour = self.colour(face)
        if face.emotion is None:
            dashed_rectangle(picture, box, GROUND, self.line_px + 2, 4 * self.line_px)
            dashed_rectangle(picture, box, colour, self.line_px, 4 * self.line_px)
            return
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(picture, *corners, GROUND, self.line_px + 2)
        cv2.rectangle(picture, *corners, colour, self.line_px)

    def _draw_label(self, picture: Picture, face: FaceOverlay, place: Placed) -> None:
        area = place.label
        fill(picture, area, self.colour(face))
        text = face.name if place.is_short else self._label(face)
        text = fitted(text, self.text_px, area.width - 0.9 * self.text_px, bold=True)
        at = area.left + 0.5 * self.text_px, area.bottom - 0.42 * self.text_px
        write(picture, text, at, self.text_px, GROUND, bold=True)

    # -- over time ---------------------------------------------------------------------------------

    def _note(self, faces: tuple[FaceOverlay, ...], media_ns: int) -> None:
        for face in faces:
            if face.emotion is not None:
                points = self._trails.setdefault(face.track, deque())
                if points and points[-1][0] == media_ns:  # the same results as before
                    continue
                points.append((media_ns, face.emotion.raw, face.emotion.smoothed))
        for track, points in list(self._trails.items()):
            while points and points[0][0] < media_ns - TRAIL_NS:
                points.popleft()
            if not points:
                del self._trails[track]

    def _trail(self, track: int) -> Trail:
        points = self._trails[track]
        return Trail(tuple(raw for _, raw, _ in points), tuple(place for *_, place in points))

    # -- the clock ---------------------------------------------------------------------------------

    def _clock(self, media_ns: int, remark: str) -> Rect:
        size_px = self._clock_px
        width = width_px(_clock_words(media_ns, remark), size_px) + size_px
        high = round(1.5 * size_px)
        return Rect.at(0, self._size[1] - high, width, high)

    def _draw_clock(self, picture: Picture, area: Rect, media_ns: int, remark: str) -> None:
        size_px = self._clock_px
        fill(picture, area, GROUND, 0.7)
        at = area.left + 0.5 * size_px, area.bottom - 0.45 * size_px
        write(picture, _clock_words(media_ns, remark), at, size_px, TEXT)

    @property
    def _clock_px(self) -> int:
        return max(_TEXT_PX_MIN - 1, round(0.8 * self.text_px))


class _Panel:
    """Bars of the likeliest expressions, values and circumplex, of one size for all faces."""

    def __init__(self, text_px: int) -> None:
        self._text_px = text_px
        self._pad = round(0.6 * text_px)
        self._row = round(1.3 * text_px)
        self._name = max(width_px(f"{name}  ", text_px) for name in EXPRESSIONS)
        self._bar = round(5.6 * text_px)
        self._share = width_px(" 0.00", text_px)
        self._small_px = max(_TEXT_PX_MIN - 1, round(0.85 * text_px))
        inner = (SHOWN_EXPRESSIONS + 1) * self._row
        self._radius = inner / 2
        left = self._name + self._bar + self._share
        self.size = 4 * self._pad + left + inner, 2 * self._pad + inner

    def draw(
        self, picture: Picture, area: Rect, emotion: Emotion, trail: Trail, colour: Colour
    ) -> None:
        fill(picture, area, GROUND, PANEL_OPACITY)
        fill(picture, Rect(area.left, area.top, area.left + max(2, self._pad // 4), area.bottom),
             colour)  # fmt: skip
        left, top = area.left + self._pad, area.top + self._pad
        bar = left + self._name
        for row, (name, share) in enumerate(emotion.likeliest(SHOWN_EXPRESSIONS)):
            base = top + row * self._row + round(0.98 * self._text_px)
            write(picture, name, (left, base), self._text_px, TEXT)
            high = round(0.6 * self._text_px)
            y = base - high
            fill(picture, Rect.at(bar, y, self._bar, high), LINE)
            fill(picture, Rect.at(bar, y, self._bar * share, high), colour)
            end = bar + self._bar + self._share
            write(picture, f"{share:.2f}", (end, base), self._text_px, DIM, anchor="right")
        base = top + SHOWN_EXPRESSIONS * self._row + round(1.0 * self._text_px)
        place = emotion.smoothed
        text = f"valence {_signed(place.valence)}  arousal {_signed(place.arousal)}"
        wide = self._name + self._bar + self._share
        size_px = self._small_px
        if width_px(text, size_px) > wide:
            text = f"v {_signed(place.valence)}  a {_signed(place.arousal)}"
        write(picture, text, (left, base), size_px, DIM)
        centre = area.right - 1.3 * self._pad - self._radius, area.top + self._pad + self._radius
        drawn = Circumplex(centre, self._radius, max(1, round(self._text_px / 14)))
        drawn.draw_ground(picture)
        drawn.draw_trail(picture, trail, colour, 0.3 * self._text_px)


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")


def _clock_words(media_ns: int, remark: str) -> str:
    return f"{clock_text(media_ns)} · {remark}" if remark else clock_text(media_ns)
