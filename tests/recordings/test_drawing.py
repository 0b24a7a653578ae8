"""Overlays on pictures: labels and panels where they can be read, for any number of faces."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.recordings.annotation.drawing.canvas import PALETTE, Rect, fitted, width_px, write
from edge.recordings.annotation.drawing.circumplex import Circumplex
from edge.recordings.annotation.drawing.frame import FrameDrawer
from edge.recordings.annotation.drawing.layout import PANELS_MAX, Layout, Wanted
from edge.recordings.annotation.overlay import FaceOverlay, FrameOverlay
from edge.vision.values import Affect
from tests.support.videos import happy_face, unread_face

SIZE = (1280, 720)
Box = tuple[float, float, float, float]


def wanted(key: int, box: Rect) -> Wanted:
    return Wanted(key, box, (150, 24), (70, 24), (330, 110))


def drawn(
    faces: list[FaceOverlay],
    size: tuple[int, int] = SIZE,
    grey: int = 128,
    drawer: FrameDrawer | None = None,
) -> np.ndarray:
    picture = np.full((size[1], size[0], 3), grey, np.uint8)
    overlay = FrameOverlay(0, 0, *size, tuple(faces))
    (drawer or FrameDrawer(size)).draw(picture, overlay, 0)
    return picture


boxes = st.builds(
    Rect.at,
    st.integers(-100, 1300),
    st.integers(-100, 740),
    st.integers(1, 600),
    st.integers(1, 600),
)


@given(st.lists(boxes, max_size=48))
def test_labels_and_panels_lie_in_the_picture_and_panels_hide_no_face(areas: list[Rect]) -> None:
    placed = Layout(SIZE, 8).place([wanted(key, area) for key, area in enumerate(areas)])

    panels = [each.panel for each in placed if each.panel is not None]
    assert all(each.label.is_within(*SIZE) for each in placed)
    assert all(panel.is_within(*SIZE) for panel in panels)
    assert len(panels) <= PANELS_MAX
    assert not any(a.overlap(b) for a, b in itertools.combinations(panels, 2))
    for number, each in enumerate(placed):
        others = areas[:number] + areas[number + 1 :]
        assert each.panel is None or not any(each.panel.overlap(other) for other in others)
        assert each.panel is None or not any(each.panel.overlap(one.label) for one in placed)


def test_labels_of_thirty_faces_do_not_hide_each_other() -> None:
    areas = [Rect.at(20 + 180 * (n % 7), 40 + 140 * (n // 7), 60, 80) for n in range(30)]

    placed = Layout(SIZE, 8).place([wanted(key, area) for key, area in enumerate(areas)])

    labels = [each.label for each in placed]
    assert not any(a.overlap(b) for a, b in itertools.combinations(labels, 2))
    assert not any(label.overlap(area) for label in labels for area in areas)


def test_panel_stays_at_its_side_while_its_face_moves() -> None:
    layout = Layout(SIZE, 8)
    at_left = layout.place([wanted(1, Rect.at(200, 200, 100, 120))])[0].panel
    assert at_left is not None
    assert at_left.left > 300  # at its right side

    sides = set()
    for x in range(200, 1000, 10):
        panel = layout.place([wanted(1, Rect.at(x, 200, 100, 120))])[0].panel
        assert panel is not None
        sides.add(panel.left > x)

    assert sides == {True, False}
    panel = layout.place([wanted(1, Rect.at(600, 200, 100, 120))])[0].panel
    assert panel is not None
    assert panel.left < 600  # it does not jump back where there is room again


@pytest.mark.parametrize("size", [(16, 16), (160, 120), (320, 240), (321, 241), (3840, 2160)])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_every_size_and_number_of_faces_is_drawn(size: tuple[int, int], count: int) -> None:
    faces = [
        happy_face(n + 1, (size[0] * (n % 6) / 6, size[1] * (n // 6) / 5, size[0] / 9, size[1] / 7))
        for n in range(count)
    ]

    picture = drawn(faces, size)

    assert picture.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("grey", [0, 255])
def test_overlays_stand_out_from_dark_and_bright_pictures(grey: int) -> None:
    picture = drawn([happy_face(1, (500, 200, 200, 240))], grey=grey).astype(int)

    edge = picture[300, 500]
    outline = picture[300, 497:504].max(axis=1)
    assert np.abs(edge - PALETTE[0]).max() == 0
    assert outline.min() < 60  # dark beside the coloured line
    assert np.abs(edge - grey).max() > 60


@pytest.mark.parametrize(
    "box", [(-50, -50, 30, 30), (1270, 700, 400, 400), (10, 10, 0.1, 0.1), (-1e4, -1e4, 1e5, 1e5)]
)
def test_boxes_beyond_the_picture_are_drawn(box: Box) -> None:
    assert drawn([happy_face(1, box), unread_face(2, box, "outside_frame")]).size


def test_tracks_of_one_participant_have_one_colour() -> None:
    drawer = FrameDrawer(SIZE)
    first, other, second = (
        happy_face(1, (10, 10, 50, 50), "P1"),
        happy_face(2, (100, 10, 50, 50), "P2"),
        happy_face(3, (200, 10, 50, 50), "P1"),
    )
    drawn([first, other, second], drawer=drawer)

    assert drawer.colour(first) == drawer.colour(second) != drawer.colour(other)


def test_trail_ends_after_two_seconds() -> None:
    drawer, fresh = FrameDrawer(SIZE), FrameDrawer(SIZE)
    face = happy_face(1, (500, 200, 200, 240))
    assert face.emotion is not None
    moved = replace(face, emotion=replace(face.emotion, smoothed=Affect(-0.9, -0.9)))
    pictures = []
    for drawer_of, faces in ((drawer, (moved, face)), (fresh, (face,))):
        for number, each in enumerate(faces):
            picture = np.zeros((720, 1280, 3), np.uint8)
            time_ns = 0 if number < len(faces) - 1 else 2_100_000_000
            drawer_of.draw(picture, FrameOverlay(number, time_ns, *SIZE, (each,)), time_ns)
        pictures.append(picture)

    assert (pictures[0] == pictures[1]).all()


def test_circumplex_has_valence_to_the_right_and_arousal_up() -> None:
    drawn_at = Circumplex((100.0, 100.0), 50.0)

    assert drawn_at.place(Affect(1.0, 0.0)) == (150.0, 100.0)
    assert drawn_at.place(Affect(0.0, 1.0)) == (100.0, 50.0)


@given(st.text(max_size=40), st.integers(8, 40), st.floats(0, 300))
@example("two\u2029paragraphs", 8, 300.0)
def test_any_text_is_written_and_shortened(text: str, size_px: int, limit_px: float) -> None:
    picture = np.zeros((40, 200, 3), np.uint8)

    short = fitted(text, size_px, limit_px)
    write(picture, text, (100, 30), size_px, anchor="middle")

    assert short == "" or width_px(short, size_px) <= limit_px
