"""Boxes: intersection over union compared with a count of pixels, and its properties."""

from hypothesis import example, given
from hypothesis import strategies as st

from edge.vision.values import Box, Detection

coordinates = st.floats(-1e4, 1e4, allow_nan=False)
sizes = st.floats(0, 1e4, allow_nan=False)
boxes = st.builds(Box, coordinates, coordinates, sizes, sizes)
small = st.integers(0, 12)
grid_boxes = st.builds(Box, small, small, small, small)


TINY = Box(0.0, 2e-277, 2e-277, 2e-277)
"""Its area is less than a float can hold."""
THIN = Box(1e4 + 2**-39, 0.0, 2**-40, 1.0)
"""Its right edge is rounded outwards: the computed intersection is twice its area."""


@given(boxes, boxes)
@example(TINY, TINY)
@example(THIN, THIN)
def test_iou_is_symmetric_and_between_0_and_1(first: Box, second: Box) -> None:
    iou = first.iou(second)
    assert 0 <= iou <= 1 + 1e-9
    assert iou == second.iou(first)


@given(st.builds(Box, coordinates, coordinates, st.floats(0.01, 1e4), st.floats(0.01, 1e4)))
def test_iou_of_a_box_with_itself_is_1(box: Box) -> None:
    assert abs(box.iou(box) - 1) < 1e-3


@given(grid_boxes, grid_boxes)
def test_iou_agrees_with_a_count_of_pixels(first: Box, second: Box) -> None:
    def pixels(box: Box) -> set[tuple[int, int]]:
        return {
            (x, y)
            for x in range(int(box.x), int(box.x + box.width))
            for y in range(int(box.y), int(box.y + box.height))
        }

    either = pixels(first) | pixels(second)
    expected = len(pixels(first) & pixels(second)) / len(either) if either else 0
    assert abs(first.iou(second) - expected) < 1e-9


def test_a_detection_without_landmarks_moves_without_them() -> None:
    found = Detection(Box(0, 0, 10, 20), None, 0.5)
    assert found.moved(3, 4).landmarks is None
    assert found.predicted_at(Box(5, 5, 10, 20)) == Detection(
        Box(5, 5, 10, 20), None, 0.5, "predicted"
    )
