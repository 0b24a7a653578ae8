"""The dashboard of affect: of each face the picture, a large circumplex and the eight expressions.

After the dashboard of a single picture in Kalabis, Facial expression analysis from NIR image (CTU
Prague, 2024), figure 3.6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from edge.recordings.annotation.drawing.canvas import (
    DIM,
    GROUND,
    LINE,
    PALETTE,
    RAISED,
    TEXT,
    UNREAD,
    Colour,
    Picture,
    Rect,
    dashed_rectangle,
    fill,
    fitted,
    write,
)
from edge.recordings.annotation.drawing.circumplex import Circumplex, Trail
from edge.recordings.annotation.overlay import Emotion, FaceOverlay
from edge.vision.resize import resize_linear
from edge.vocabulary import EXPRESSIONS

ROWS_MAX: Final = 8
"""Faces on a dashboard, the largest first."""

_WIDTH: Final = 1500
_MARGIN: Final = 36
_HEAD: Final = 76
_ROW: Final = 440
_CARD: Final = 404  # height of a row's cards
_FACE: Final = 404
_WHEEL: Final = 560
_TEXT_PX: Final = 20
_NOTE_PX: Final = 16
_MARGIN_OF_FACE: Final = 0.45  # of the box's longer side, shown on every side


def dashboard(
    picture: Picture,
    faces: Sequence[FaceOverlay],
    title: str,
    detail: str,
    *,
    trails: Mapping[int, Trail] | None = None,
    note: str = "",
) -> Picture:
    """Return a dashboard: a row for each face, ``ROWS_MAX`` at most, the largest first.

    Args:
        picture: the picture in which the faces are.
        faces: any number.
        title: such as the name of the file.
        detail: at the right of the title.
        trails: recent places by track, where they are known.
        note: below the rows.

    Returns:
        uint8 (height, width, 3), BGR; 1500 pixels wide.
    """
    shown = largest(faces)
    if len(shown) < len(faces):
        note = f"the {len(shown)} largest of {len(faces)} faces. {note}".rstrip()
    rows = max(1, len(shown))
    foot = 2 * _NOTE_PX if note else 0
    height = _HEAD + rows * _ROW + foot
    board = np.full((height, _WIDTH, 3), GROUND, np.uint8)
    write(board, detail, (_WIDTH - _MARGIN, 48), _TEXT_PX, DIM, anchor="right")
    write(board, fitted(title, 26, 0.6 * _WIDTH, bold=True), (_MARGIN, 49), 26, TEXT, bold=True)
    for number, face in enumerate(shown):
        colour = PALETTE[number % len(PALETTE)] if face.emotion else UNREAD
        trail = (trails or {}).get(face.track)
        others = tuple(each for each in faces if each is not face)
        _draw_row(board, _HEAD + number * _ROW, _Row(picture, others, face, colour, trail))
    if not shown:
        _draw_empty(board, picture)
    if note:
        write(board, note, (_MARGIN, height - _NOTE_PX), _NOTE_PX, DIM)
    return board


def largest(faces: Sequence[FaceOverlay]) -> list[FaceOverlay]:
    """Return the ``ROWS_MAX`` largest faces, from left to right."""
    by_size = sorted(faces, key=lambda face: -face.box[2] * face.box[3])
    return sorted(by_size[:ROWS_MAX], key=lambda face: face.box[0])


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of the dashboard shows."""

    picture: Picture
    others: tuple[FaceOverlay, ...]
    face: FaceOverlay
    colour: Colour
    trail: Trail | None


def _draw_row(board: Picture, top: int, row: _Row) -> None:
    left = _MARGIN
    _draw_face(board, Rect.at(left, top, _FACE, _CARD), row)
    left += _FACE + 18
    wheel = Rect.at(left, top, _WHEEL, _CARD)
    fill(board, wheel, RAISED)
    radius = 0.39 * _CARD
    circumplex = Circumplex(((wheel.left + wheel.right) / 2, top + _CARD / 2), radius, 1)
    circumplex.draw_ground(board)
    circumplex.draw_words(board, 16)
    if (emotion := row.face.emotion) is not None:
        seen = row.trail or Trail((emotion.raw,), (emotion.smoothed,))
        circumplex.draw_trail(board, seen, row.colour, 8.0)
    left += _WHEEL + 18
    card = Rect(left, top, _WIDTH - _MARGIN, top + _CARD)
    fill(board, card, RAISED)
    fill(board, Rect(card.left, card.top, card.left + 5, card.bottom), row.colour)
    _draw_values(board, card, row.face, row.colour)


def _draw_face(board: Picture, card: Rect, row: _Row) -> None:
    """Draw the part of the picture around a face, with its box and its landmarks."""
    face, colour = row.face, row.colour
    left, top, side = _view(face.box, row.picture.shape[1], row.picture.shape[0])
    ratio = card.width / side
    part = _cut(row.picture, Rect.at(left, top, side, side))
    view = board[card.top : card.bottom, card.left : card.right]
    view[:] = _scaled(part, (card.width, card.height))

    def placed(box: tuple[float, float, float, float]) -> Rect:
        return Rect.at(
            (box[0] - left) * ratio, (box[1] - top) * ratio, box[2] * ratio, box[3] * ratio
        )

    for other in row.others:
        area = placed(other.box)
        cv2.rectangle(view, area[:2], area[2:], DIM, 1, cv2.LINE_AA)
    area = placed(face.box)
    if face.emotion is None:
        dashed_rectangle(view, area, colour, 2, 12)
    else:
        cv2.rectangle(view, area[:2], area[2:], GROUND, 4)
        cv2.rectangle(view, area[:2], area[2:], colour, 2)
    for point in face.landmarks:
        at = round((point[0] - left) * ratio * 16), round((point[1] - top) * ratio * 16)
        cv2.circle(view, at, 7 * 16, GROUND, -1, cv2.LINE_AA, 4)
        cv2.circle(view, at, 5 * 16, colour, -1, cv2.LINE_AA, 4)


def _view(
    box: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float]:
    """Return left, top and side of the square that shows a face, in the picture where possible."""
    longer = max(box[2], box[3])
    side = min(longer * (1 + 2 * _MARGIN_OF_FACE), max(min(width, height), 1.1 * longer))
    side = max(8.0, min(side, 2.0 * max(width, height)))
    left, top = box[0] + box[2] / 2 - side / 2, box[1] + box[3] / 2 - side / 2
    if side <= width:
        left = min(max(0.0, left), width - side)
    if side <= height:
        top = min(max(0.0, top), height - side)
    return left, top, side


def _draw_values(board: Picture, card: Rect, face: FaceOverlay, colour: Colour) -> None:
    """Draw name, expression, the eight bars, valence and arousal of a face."""
    left, right = card.left + 28, card.right - 24
    room = right - left
    write(board, fitted(face.name, _TEXT_PX, room), (left, card.top + 38), _TEXT_PX, DIM)
    if face.emotion is None:
        write(board, "not read", (left, card.top + 80), 30, TEXT, bold=True)
        for row, reason in enumerate(face.reasons):
            under = card.top + 124 + 30 * row
            write(board, reason.replace("_", " "), (left, under), _TEXT_PX, UNREAD)
        return
    name = fitted(face.emotion.stable_label, 30, room, bold=True)
    write(board, name, (left, card.top + 80), 30, colour, bold=True)
    _draw_bars(board, Rect(left, card.top + 106, right, card.top + 330), face.emotion, colour)
    base = card.bottom - 24
    place = face.emotion.smoothed
    for x, word, value in (
        (left, "valence", place.valence),
        (left + room // 2, "arousal", place.arousal),
    ):
        write(board, word, (x, base - 26), _NOTE_PX, DIM)
        write(board, f"{value:+z.2f}".replace("-", "−"), (x, base), 24, TEXT, bold=True)


def _draw_bars(board: Picture, area: Rect, emotion: Emotion, colour: Colour) -> None:
    pitch = area.height / len(EXPRESSIONS)
    highest = max(share for share in emotion.probabilities if share is not None)
    bar, end = area.left + 100, area.right - 56
    for row, (name, share) in enumerate(zip(EXPRESSIONS, emotion.probabilities, strict=True)):
        base = area.top + (row + 0.72) * pitch
        is_highest = share == highest
        tint = TEXT if is_highest else DIM
        write(board, name, (area.left, base), 17, tint, bold=is_highest)
        fill(board, Rect.at(bar, base - 12, end - bar, 12), LINE)
        if share is None:  # the network does not know it
            write(board, "–", (area.right, base), 17, tint, anchor="right")
            continue
        fill(board, Rect.at(bar, base - 12, (end - bar) * share, 12),
             colour if is_highest else DIM)  # fmt: skip
        write(board, f"{share:.2f}", (area.right, base), 17, tint, anchor="right")


def _draw_empty(board: Picture, picture: Picture) -> None:
    """Draw the whole picture, and that there is no face in it."""
    height, width = picture.shape[:2]
    ratio = min(_CARD / height, (_FACE + _WHEEL) / width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    board[_HEAD : _HEAD + size[1], _MARGIN : _MARGIN + size[0]] = _scaled(picture, size)
    at = _MARGIN + size[0] + 40, _HEAD + 48
    write(board, "no face found", at, 30, TEXT, bold=True)


def _cut(picture: Picture, area: Rect) -> Picture:
    """Return a part of ``picture``; what lies outside is the ground."""
    inside = area.clipped(picture)
    part = np.full((area.height, area.width, 3), RAISED, np.uint8)
    if inside.width > 0 and inside.height > 0:
        x, y = inside.left - area.left, inside.top - area.top
        part[y : y + inside.height, x : x + inside.width] = picture[
            inside.top : inside.bottom, inside.left : inside.right
        ]
    return part


def _scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return ``picture`` at ``size``; halved first where it is much larger, against aliases."""
    while picture.shape[1] >= 2 * size[0] and picture.shape[0] >= 2 * size[1]:
        picture = cv2.pyrDown(picture)
    return resize_linear(picture, size) if picture.shape[:2] != size[::-1] else picture
