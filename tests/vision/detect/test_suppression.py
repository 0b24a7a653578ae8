"""Non-maximum suppression compared with a simple one, pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.detect.suppression import CANDIDATES_MAX, by_score, non_maximum_suppression
from edge.vision.values import Box

boxes_of = st.lists(
    st.tuples(*[st.integers(-20, 20).map(float)] * 2, *[st.integers(0, 20).map(float)] * 2),
    max_size=12,
)


def reference(boxes: list[tuple[float, float, float, float]], nms_iou: float) -> list[int]:
    """Return the indices to keep, with loops."""
    keep: list[int] = []
    for i, sides in enumerate(boxes):
        overlaps = [Box(*sides).iou(Box(*boxes[kept])) for kept in keep]
        if all(overlap == 0 or overlap < nms_iou for overlap in overlaps):
            keep.append(i)
    return keep


@settings(max_examples=200)
@given(boxes_of, st.floats(0, 1))
def test_it_agrees_with_the_reference(
    boxes: list[tuple[float, float, float, float]], nms_iou: float
) -> None:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    assert non_maximum_suppression(array, nms_iou) == reference(boxes, nms_iou)


def test_no_boxes_give_no_indices() -> None:
    assert non_maximum_suppression(np.zeros((0, 4)), 0.3) == []


def test_the_first_of_equal_boxes_is_kept() -> None:
    assert non_maximum_suppression(np.array([[0.0, 0, 9, 9]] * 3), 1.0) == [0]


def test_a_dropped_box_drops_no_other() -> None:
    chain = np.array([[0.0, 0, 10, 10], [4, 0, 10, 10], [8, 0, 10, 10]])
    assert non_maximum_suppression(chain, 0.3) == [0, 2]


@pytest.mark.parametrize("size", [0.0, 1e-200])
def test_empty_boxes_overlap_nothing(size: float) -> None:
    assert non_maximum_suppression(np.array([[5.0, 5, size, size]] * 2), 0.0) == [0, 1]


def test_candidates_are_sorted_by_score_and_bounded() -> None:
    scores = np.random.default_rng(1).random(3000).astype(np.float32)
    order = by_score(scores)
    assert len(order) == CANDIDATES_MAX
    np.testing.assert_array_equal(scores[order], np.sort(scores)[::-1][:CANDIDATES_MAX])


def test_equal_scores_keep_their_order() -> None:
    assert by_score(np.float32([0.5, 0.9, 0.5, 0.9])).tolist() == [1, 3, 0, 2]
