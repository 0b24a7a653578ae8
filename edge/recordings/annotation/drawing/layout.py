"""Where labels and panels of faces go: in the picture, off other faces, and where they were before.

Each face has a label at its box. A panel with bars and circumplex is shown where there is room for
it; in a crowd, faces have labels only. A place is kept as long as it is free, so that panels do not
jump from side to side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge.recordings.annotation.drawing.canvas import Rect

PANELS_MAX: Final = 6
"""Faces with a panel, the largest first: more would hide the picture."""

CORNERS_MAX: Final = 2
"""Faces in a picture at most for a large one's panel to go to a corner: it is clear whose it is."""

_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be placed for a face.

    Attributes:
        key: identifies the face over frames.
        box: of the face.
        label: width and height of the label, with name and result.
        short_label: of the one with the name alone.
        panel: width and height of the panel; None: the face has none.
    """

    key: int
    box: Rect
    label: tuple[int, int]
    short_label: tuple[int, int]
    panel: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the parts of a face go; ``panel`` is None if there is no room for it."""

    label: Rect
    is_short: bool
    panel: Rect | None


class Layout:
    """Places labels and panels frame by frame. Not thread-safe.

    Args:
        size: width and height of the pictures.
        gap_px: between box and panel.
    """

    def __init__(self, size: tuple[int, int], gap_px: int) -> None:
        self._size = size
        self._gap_px = gap_px
        self._panel_places: dict[int, _Place] = {}

    def place(self, faces: Sequence[Wanted], reserved: Sequence[Rect] = ()) -> list[Placed]:
        """Return where the parts of ``faces`` go, in their order.

        Args:
            faces: of one frame.
            reserved: areas that stay free.
        """
        taken = list(reserved)
        boxes = [face.box for face in faces]
        labels: dict[int, tuple[Rect, bool]] = {}
        by_size = sorted(range(len(faces)), key=lambda number: -_area(faces[number].box))
        for number in by_size:
            others = boxes[:number] + boxes[number + 1 :]
            label, is_short = self._label(faces[number], taken, others)
            labels[number] = label, is_short
            taken.append(label)
        panels: dict[int, Rect] = {}
        places: dict[int, _Place] = {}
        for number in by_size:
            face = faces[number]
            if face.panel is None or len(panels) == PANELS_MAX:
                continue
            others = boxes[:number] + boxes[number + 1 :]
            kept = self._panel_places.get(face.key)
            candidates = list(self._panels(face, kept))
            if len(faces) <= CORNERS_MAX:
                candidates += self._corners(face)
            for place, panel in candidates:
                own = () if place[0] == "corner" else (face.box,)
                is_free = not any(_hits(panel, areas) for areas in (taken, others, own))
                if panel.is_within(*self._size) and is_free:
                    panels[number], places[face.key] = panel, place
                    taken.append(panel)
                    break
        self._panel_places = places
        return [Placed(*labels[number], panels.get(number)) for number in range(len(faces))]

    def _label(
        self, face: Wanted, taken: Sequence[Rect], others: Sequence[Rect]
    ) -> tuple[Rect, bool]:
        """Return the place of a face's label, and whether it is the short one."""
        candidates = [
            (self._inside(Rect.at(x, y, width, height)), is_short)
            for is_short, (width, height) in ((False, face.label), (True, face.short_label))
            for x, y in (
                (face.box.left, face.box.top - height),
                (face.box.left, face.box.bottom),
                (face.box.right - width, face.box.top - height),
                (face.box.right - width, face.box.bottom),
                (face.box.left, face.box.top),
                (face.box.left, face.box.bottom - height),
            )
        ]
        for label, is_short in candidates:
            if not _hits(label, taken) and not _hits(label, others):
                return label, is_short
        short = [label for label, is_short in candidates if is_short]
        return min(short, key=lambda label: sum(map(label.overlap, taken))), True

    def _panels(self, face: Wanted, kept: _Place | None) -> Iterator[tuple[_Place, Rect]]:
        """Yield places of a face's panel, the preferred first."""
        assert face.panel is not None
        width, height = face.panel
        box, gap = face.box, self._gap_px
        across = (box.left, box.right - width, (box.left + box.right - width) // 2)
        down = (box.top, box.bottom - height, (box.top + box.bottom - height) // 2)
        below = box.bottom + gap + face.label[1]
        above = box.top - gap - height - face.label[1]
        places: dict[_Place, tuple[float, float]] = {}
        for number, y in enumerate(down):
            places["right", number] = box.right + gap, y
            places["left", number] = box.left - gap - width, y
        for number, x in enumerate(across):
            places["below", number] = x, below
            places["above", number] = x, above
        order = sorted(places, key=lambda place: (place != kept, place[0] != (kept or place)[0]))
        for place in order:
            yield place, Rect.at(*places[place], width, height)

    def _corners(self, face: Wanted) -> list[tuple[_Place, Rect]]:
        """Return the corners of the picture for a large face's panel, the least covered first."""
        assert face.panel is not None
        width, height = face.panel
        gap = self._gap_px
        right, bottom = self._size[0] - width - gap, self._size[1] - height - gap
        corners = [
            (("corner", number), Rect.at(x, y, width, height))
            for number, (x, y) in enumerate(
                ((right, bottom), (gap, bottom), (right, gap), (gap, gap))
            )
        ]
        return sorted(corners, key=lambda corner: corner[1].overlap(face.box))

    def _inside(self, area: Rect) -> Rect:
        """Return ``area`` moved into the picture."""
        left = max(0, min(area.left, self._size[0] - area.width))
        top = max(0, min(area.top, self._size[1] - area.height))
        return Rect.at(left, top, area.width, area.height)


def _area(area: Rect) -> int:
    return area.width * area.height


def _hits(area: Rect, others: Sequence[Rect]) -> bool:
    return any(area.overlap(other) > 0 for other in others)
