"""Scenes: the true boxes hold a face, paths do what their names say, and comparison counts."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.pipeline import repeated_frames
from benchmarks.scene import MOTIONS, PERIOD, FoundFaces, Scene, make_scene
from edge.clock import Stopwatch
from edge.config import Config
from edge.vision.detect import Detector
from edge.vision.pipeline import Pipeline
from edge.vision.values import Box

SIZE = (640, 360)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Pipeline.open(Config()).detector


def known(scene: Scene, face: int = 0) -> Iterator[Box]:
    """Return the boxes of a face in the frames in which it counts."""
    return (box for boxes in scene.truth if (box := boxes[face]) is not None)


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_true_boxes_are_those_of_faces(motion: str, detector: Detector) -> None:
    scene = make_scene(2, motion, SIZE)
    assert len(scene.frames) == len(scene.truth) == PERIOD
    found = FoundFaces(scene)
    for index in range(0, PERIOD, 10):
        faces = detector.detect(scene.frames[index], Stopwatch())
        found.update(index, [(0, face.box, 0.0) for face in faces])
    figures = found.figures()
    assert figures["recall"] > 0.95
    assert figures["mean_iou"] > 0.8
    assert figures["false_faces"] == 0


def test_faces_move_as_the_motion_says() -> None:
    still, pan, zoom = (list(known(make_scene(1, each, SIZE))) for each in MOTIONS[:3])
    assert len(set(still)) == 1
    assert max(box.x for box in pan) - min(box.x for box in pan) > SIZE[0] / 3
    assert max(box.height for box in zoom) > 1.5 * min(box.height for box in zoom)
    crossing = make_scene(2, "cross", SIZE)
    left, right = ([boxes[face] for boxes in crossing.truth] for face in (0, 1))
    assert left[0] is not None
    assert right[0] is not None
    assert left[PERIOD // 2].x == pytest.approx(right[0].x, abs=1)  # type: ignore[union-attr]
    assert None in left, "the one behind is hidden for a while"
    leaving = make_scene(1, "leave", SIZE)
    assert 0 < sum(boxes[0] is None for boxes in leaving.truth) < PERIOD


def test_a_scene_repeats_without_a_seam_and_is_the_same_each_time() -> None:
    scene, again = make_scene(1, "pan", SIZE), make_scene(1, "pan", SIZE)
    assert all(
        np.array_equal(one.luma, other.luma)
        for one, other in zip(scene.frames, again.frames, strict=True)
    )
    frames = list(repeated_frames(scene.frames, PERIOD + 2))
    steps = {(b.sensor_ns - a.sensor_ns) for a, b in itertools.pairwise(frames)}
    assert steps == {40_000_000}
    first, last = scene.truth[0][0], scene.truth[-1][0]
    assert first is not None
    assert last is not None
    assert abs(first.x - last.x) < 15, "the last frame lies next to the first"
    assert not np.array_equal(frames[0].luma, make_scene(1, "still", SIZE).frames[1].luma)


def test_still_faces_differ_from_frame_to_frame_by_noise() -> None:
    first, second = make_scene(1, "still", SIZE).frames[:2]
    assert not np.array_equal(first.luma, second.luma)
    assert np.abs(first.luma.astype(int) - second.luma).max() < 25


def test_found_faces_are_compared_with_the_true_ones() -> None:
    scene = make_scene(2, "still", SIZE)
    first, second = scene.truth[0]
    assert first is not None
    assert second is not None
    found = FoundFaces(scene)
    found.update(0, [(7, first, 0.0), (8, second, None)])
    found.update(1, [(8, first, 0.24), (9, Box(0, 0, 10, 10), None)])
    figures = found.figures()
    assert figures["counted"] == 4
    assert figures["recall"] == 0.75
    assert figures["mean_iou"] == pytest.approx(1.0)
    assert figures["false_faces"] == 1
    assert figures["identity_switches"] == 1
    assert figures["predicted_share"] == 0.5
    assert figures["read_share"] == 0.25
    assert figures["reading_age_max_s"] == 0.24


@pytest.mark.parametrize("faces", [1, 3, 8, 30, 48])
def test_every_face_fits_the_frame(faces: int) -> None:
    scene = make_scene(faces, "still", (1280, 720))
    assert all(box is not None for box in scene.truth[0])
