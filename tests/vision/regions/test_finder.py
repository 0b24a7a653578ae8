"""Detection by regions: faces are followed, and full looks decide what is in doubt."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.config import Config, DetectorConfig, ZonesConfig
from edge.errors import InferenceError, ModelError
from edge.vision.detect import open_detector
from edge.vision.golden import golden_picture
from edge.vision.pipeline import Pipeline
from edge.vision.regions import RegionFinder, open_finder
from edge.vision.regions.finder import detect_in
from edge.vision.regions.schedule import SEARCH_NS
from edge.vision.regions.square import Square
from edge.vision.values import Box, Detection, ExpectedFace, Frame, FrameTracks
from edge.vision.zones import Zones
from tests.support.rectangles import HEIGHT, RATE_HZ, WIDTH, Faces, RectangleDetector, box, frame_at

FULL_EVERY_S = 0.5


class World:
    """A pipeline over rectangles.

    Attributes:
        full: the detector of full frames, 320x192.
        region: the detector of regions, 96x96.
        full_looks: numbers of the frames that were searched in full.
    """

    def __init__(
        self,
        full_every_s: float = FULL_EVERY_S,
        scores: dict[int, float] | None = None,
        zones: ZonesConfig | None = None,
    ) -> None:
        self.full = RectangleDetector((320, 192), scores)
        self.region = RectangleDetector((96, 96), scores)
        config = Config(zones=zones or ZonesConfig())
        finder = RegionFinder(
            self.full,  # type: ignore[arg-type]
            self.region,  # type: ignore[arg-type]
            full_every_s=full_every_s,
            sure_score=config.detector.threshold,
            nms_iou=config.detector.nms_iou,
            iou_min=config.tracking.iou_min,
        )
        self.pipeline = Pipeline(self.full, None, config, finder=finder)  # type: ignore[arg-type]
        self.full_looks: list[int] = []
        self._frames = 0

    def see(self, frame: Frame) -> FrameTracks:
        before = len(self.full.looks)
        seen = self.pipeline.detect(frame)
        self.pipeline.finish_look()
        if len(self.full.looks) > before:
            self.full_looks.append(self._frames)
        self._frames += 1
        return seen

    def watch(
        self, seconds: float, faces: Callable[[float], Faces], start_s: float = 0.0
    ) -> list[FrameTracks]:
        """Show ``faces`` at each moment from ``start_s`` on, at 25 Hz."""
        count = round(seconds * RATE_HZ)
        times = [start_s + number / RATE_HZ for number in range(count)]
        return [self.see(frame_at(time, faces(time))) for time in times]


def how(seen: FrameTracks) -> list[str]:
    return [track.detection.found for track in seen.tracks]


def where(seen: FrameTracks) -> dict[int, Box]:
    return {track.id: track.detection.box for track in seen.tracks}


def still(*faces: Box) -> Callable[[float], Faces]:
    return lambda _: dict(enumerate(faces, 100))


# -- the steady state ------------------------------------------------------------------------------


def test_a_still_face_is_found_by_regions_in_a_still_square_with_regular_full_looks() -> None:
    world = World()
    seen = world.watch(4.0, still(box(300)))
    assert [how(each) for each in seen] == [["full"], *[["region"]] * 99]
    assert {where(each)[1] for each in seen} == {box(300)}
    assert len(set(world.region.looks)) == 1
    # 0.5 s is 12.5 frames: the full look comes with the 13th
    assert world.full_looks == [*range(0, 100, 13)]


@given(st.integers(3, 90), st.floats(0.1, 2.0))
@settings(max_examples=25, deadline=None)
def test_full_looks_come_within_their_time_at_any_rate(rate_hz: int, full_every_s: float) -> None:
    world = World(full_every_s)
    for number in range(3 * rate_hz):
        world.see(frame_at(number / rate_hz, {100: box(300)}))
        assert (number - world.full_looks[-1]) / rate_hz < full_every_s + 1e-6


def test_full_looks_become_rarer_where_they_are_limited() -> None:
    (world := World()).pipeline.limit(faces_per_frame=0, full_every_factor=4)
    world.watch(3.96, still(box(300)))
    assert world.full_looks == [0, 50]


def test_landmarks_and_boxes_are_pixels_of_the_full_frame() -> None:
    _, seen = World().watch(2 / RATE_HZ, still(box(300)))
    (track,) = seen.tracks
    assert track.detection.found == "region"
    assert track.detection.landmarks == pytest.approx(np.array([[300.0, 163.0]] * 5))


def test_a_new_face_appears_with_the_next_full_look() -> None:
    world = World()
    world.watch(1.0, still(box(300)))
    seen = world.watch(0.6, still(box(300), box(500)), start_s=1.0)
    first = next(number for number, each in enumerate(seen) if len(each.tracks) == 2)
    assert first / RATE_HZ <= 0.5 + 1 / RATE_HZ


def test_an_empty_picture_at_rest_is_searched_at_the_regular_looks() -> None:
    world = World()
    world.watch(1.0, lambda _: {})
    assert (world.full_looks, world.region.looks) == ([0, 13], [])


def test_who_comes_into_an_empty_picture_is_found_at_once() -> None:
    world = World()
    world.watch(0.2, lambda _: {})
    assert how(world.watch(0.04, still(box(300)), start_s=0.2)[0]) == ["full"]
    assert world.full_looks == [0, 5]


def test_who_comes_into_view_beside_a_known_face_is_found_within_a_fifth_of_a_second() -> None:
    world = World(full_every_s=10.0)
    world.watch(0.4, still(box(150)))
    seen = world.watch(0.4, still(box(150), box(500)), start_s=0.4)
    assert len(seen[1].tracks) == 2  # the last full look is 0.4 s ago, and the next one may wait
    seen = world.watch(0.4, still(box(150), box(500), box(340, 80)), start_s=0.8)
    first = next(number for number, each in enumerate(seen) if len(each.tracks) == 3)
    assert first / RATE_HZ <= 0.2 + 1 / RATE_HZ


# -- motion ----------------------------------------------------------------------------------------


def test_a_fast_face_is_followed_at_its_predicted_place() -> None:
    world = World(full_every_s=60.0)
    # 3 faces a second, after an acceleration
    seen = world.watch(1.5, lambda t: {100: box(60 + 180 * max(0.0, t - 0.2) + 0.0)})
    assert all(len(each.tracks) == 1 and each.tracks[0].id == 1 for each in seen)
    assert sum(how(each) == ["region"] for each in seen) >= 0.9 * len(seen)


def test_an_answer_at_the_border_is_searched_again_round_the_answer() -> None:
    world = World()
    world.watch(0.4, still(box(300)))
    before = len(world.region.looks)
    # the square reaches 15 pixels beyond the face: a part of the face is outside
    (seen,) = world.watch(0.04, still(box(330)), start_s=0.4)
    assert len(world.region.looks) == before + 2
    assert where(seen) == {1: box(330)}
    assert how(seen) == ["region"]


def test_a_face_that_is_gone_or_far_away_is_decided_by_a_full_look_in_the_same_frame() -> None:
    world = World()
    world.watch(0.4, still(box(200)))
    (seen,) = world.watch(0.04, still(box(235)), start_s=0.4)
    assert where(seen) == {1: box(235)}
    assert world.full_looks == [0]
    (seen,) = world.watch(0.04, still(box(500)), start_s=0.44)
    assert where(seen) == {2: box(500)}
    (gone,) = world.watch(0.04, lambda _: {}, start_s=0.48)
    assert gone.tracks == ()
    assert world.full_looks == [0, 11, 12]


def test_a_lost_face_is_searched_more_often_and_then_at_the_regular_looks() -> None:
    world = World()
    world.watch(0.4, still(box(200), box(450)))
    world.watch(3.0, still(box(450)), start_s=0.4)
    lost_at, lost_until = 10, 10 + RATE_HZ * SEARCH_NS // 10**9
    # every third frame: the first one that is 0.1 s after the last
    assert world.full_looks[:10] == [0, *range(lost_at, lost_until, 3)]
    assert len([each for each in world.full_looks if each >= lost_until]) <= 5


def test_a_lost_face_that_is_back_at_its_place_is_found_at_once() -> None:
    def faces(t: float) -> Faces:
        return {100: box(450), **({} if 0.4 <= t < 0.6 else {200: box(200)})}

    world = World()
    seen = world.watch(1.0, faces)
    assert [len(each.tracks) for each in seen] == [2] * 10 + [1] * 5 + [2] * 10
    assert {track.id for track in seen[15].tracks} == {1, 2}
    assert 15 in world.full_looks  # which decides that it is a face


def test_a_face_at_the_edge_of_the_frame_is_followed() -> None:
    world = World()
    seen = world.watch(1.0, still(Box(0.0, 150.0, 60.0, 60.0)))
    assert ["region"] in [how(each) for each in seen]
    assert {where(each)[1] for each in seen} == {Box(0.0, 150.0, 60.0, 60.0)}


# -- doubt -----------------------------------------------------------------------------------------


def test_a_region_with_two_faces_gives_the_one_nearest_to_the_prediction() -> None:
    world = World()
    # the neighbours are in one another's squares
    seen = world.watch(2.0, still(box(300), box(350, size=40)))
    for each in seen:
        assert where(each) == {1: box(300), 2: box(350, size=40)}


def test_two_tracks_of_one_answer_need_a_full_look() -> None:
    world = World()
    finder = world.pipeline._finder
    assert finder is not None
    frame = frame_at(0.0, {100: box(300)})
    finder.find(frame, (), Stopwatch())  # the first frame is always searched in full
    one, other = (ExpectedFace(id_, box(x), 0, False) for id_, x in ((1, 295.0), (2, 306.0)))
    frame = frame_at(0.04, {100: box(300)})
    assert not finder.find(frame, (one,), Stopwatch()).is_full
    found = finder.find(frame, (one, other), Stopwatch())
    assert found.is_full
    assert len(found.detections) == 1


def test_crossing_faces_keep_their_tracks_as_with_every_frame_in_full() -> None:
    def faces(t: float) -> Faces:
        return {100: box(150 + 150 * t, 170), 200: box(450 - 150 * t, 225)}

    seen = World().watch(2.0, faces)
    every = World(full_every_s=1e-3).watch(2.0, faces)
    assert [where(each).keys() for each in seen] == [where(each).keys() for each in every]
    assert where(seen[-1]) == where(every[-1])


def test_an_answer_that_is_not_sure_needs_a_full_look() -> None:
    world = World(scores={100: 0.9})
    world.watch(0.4, still(box(300)))
    world.region.scores = {100: 0.45}
    (seen,) = world.watch(0.04, still(box(300)), start_s=0.4)
    assert how(seen) == ["full"]
    world.region.scores = {100: 0.55}  # as good as any answer of a full look
    (seen,) = world.watch(0.04, still(box(300)), start_s=0.44)
    assert how(seen) == ["region"]


def test_a_new_face_that_is_not_sure_is_searched_in_full_frames() -> None:
    world = World(scores={101: 0.55})
    seen = world.watch(0.16, still(box(300), box(500)))
    assert {len(each.tracks) for each in seen} == {1}
    assert world.full_looks == [0, 1, 2, 3]


# -- several faces ---------------------------------------------------------------------------------


def test_several_faces_share_the_budget_and_none_waits_for_two_frames() -> None:
    world = World()
    places = [box(60 + 100 * number, size=40) for number in range(5)]
    seen = world.watch(0.5, still(*places))
    found = {track: [each.tracks[track].detection.found for each in seen] for track in range(5)}
    assert sum("predicted" in row for row in found.values()) >= 4
    for row in found.values():
        assert ("predicted", "predicted") not in set(itertools.pairwise(row))
    for each in seen[1:]:
        assert how(each).count("region") == 3
        assert {round(box.x) for box in where(each).values()} == {round(box.x) for box in places}


def test_more_faces_than_a_full_look_costs_are_found_in_full_frames() -> None:
    world = World()
    seen = world.watch(0.4, still(*(box(50 + 80 * number, size=30) for number in range(7))))
    assert [how(each) for each in seen] == [["full"] * 7] * len(seen)


def test_the_landmarks_of_a_predicted_face_move_with_its_box() -> None:
    world = World()

    def faces(t: float) -> Faces:
        return {level: box(60 + 100 * level + 50 * t, size=40) for level in range(1, 6)}

    for each in world.watch(1.0, faces):
        for track in each.tracks:
            at = track.detection.box
            assert track.detection.landmarks[:, 0] == pytest.approx(at.x + at.width / 2, abs=0.01)


# -- time and determinism --------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-10.0, 0.6, 100.0])
def test_a_jump_of_the_time_needs_a_full_look(step_s: float) -> None:
    world = World()
    world.watch(0.4, still(box(300)))
    world.watch(0.04, still(box(300)), start_s=0.4 + step_s)
    assert world.full_looks == [0, 10]


def test_another_size_of_the_frame_needs_a_full_look() -> None:
    world = World()
    world.watch(0.4, still(box(300)))
    wider = np.zeros((384, WIDTH + 64), np.uint8)
    wider[162:222, 270:330] = 100
    assert how(world.see(Frame(wider, 0, round(0.4e9), "media", 0))) == ["full"]


def summary(seen: Sequence[FrameTracks]) -> list[object]:
    return [
        (track.id, track.detection.found, track.detection.box, track.age_s)
        for each in seen
        for track in each.tracks
    ]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 2**40))
@settings(max_examples=15, deadline=None)
def test_results_depend_on_sensor_time_and_content_alone(chunks: list[int], now_ns: int) -> None:
    def faces(t: float) -> Faces:
        shown = {100: box(200 + 90 * np.sin(5 * t)), 150: box(450, 250)}
        return shown if not 0.5 < t < 0.8 else {100: shown[100]}

    expected = summary(World().watch(1.6, faces))
    world, seen = World(), []
    for number in range(40):
        # other wall times, other indices after drops, and pauses between groups of frames
        wall_ns = now_ns + number * 10**9 * (1 + chunks[number % len(chunks)])
        shown = faces(number / RATE_HZ)
        seen.append(world.see(frame_at(number / RATE_HZ, shown, captured_ns=wall_ns)))
    assert summary(seen) == expected


def test_an_answer_gets_the_height_that_its_network_is_known_to_exceed() -> None:
    world = World()
    world.pipeline._finder._height_factor = 0.5  # type: ignore[union-attr]
    _, seen = world.watch(2 / RATE_HZ, still(box(300)))
    assert where(seen) == {1: Box(270, 177, 60, 30)}
    assert seen.tracks[0].detection.landmarks[0].tolist() == [300.0, 163.0]


def test_a_failed_network_leaves_tracks_and_schedule_unchanged() -> None:
    world, calm = World(), World()
    for each in (world, calm):
        each.watch(0.4, still(box(300)))
    world.region.fails = True
    with pytest.raises(InferenceError):
        world.watch(0.04, still(box(300)), start_s=0.4)
    world.region.fails = False
    seen = world.watch(1.0, still(box(300)), start_s=0.44)
    assert summary(seen) == summary(calm.watch(1.0, still(box(300)), start_s=0.44))


# -- the configured networks -----------------------------------------------------------------------


def test_every_frame_has_no_finder_and_regions_need_a_square_input() -> None:
    full = RectangleDetector((320, 192))
    every_frame = Config(detector=DetectorConfig(schedule="every-frame"))
    assert open_finder(every_frame, full) is None  # type: ignore[arg-type]
    config = Config(
        detector=DetectorConfig(
            schedule="region", region_model="centerface-320x192", region_artifact="centerface.onnx"
        )
    )
    with pytest.raises(ModelError, match=r"region_model: takes 320x192 pixels; expected a square"):
        open_finder(config, full)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [(0, 0), (1, 3), (160, 90), (-120, -40)])
def test_the_bundled_network_finds_a_face_at_the_same_place_wherever_its_square_is(
    offset: tuple[int, int],
) -> None:
    face, _ = golden_picture()
    config = DetectorConfig(schedule="region", region_artifact="centerface.onnx")
    region = open_detector(config.region)

    def found_at(x: int, y: int) -> Detection:
        luma = np.full((600, 900), 90, np.uint8)
        luma[150 + y : 150 + y + face.shape[0], 200 + x : 200 + x + face.shape[1]] = face
        # the golden face is at (151, 58), 91 by 119
        square = Square(200 + 105 + x, 150 + 25 + y, 184)
        frame = Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0)
        (found,) = detect_in(region, frame, square, Stopwatch())
        return found

    x, y = offset
    known, moved = found_at(0, 0), found_at(x, y)
    assert known.box.iou(Box(351.25, 208.02, 91.37, 118.9)) > 0.8
    assert moved.box == Box(known.box.x + x, known.box.y + y, known.box.width, known.box.height)
    assert moved.landmarks == pytest.approx(known.landmarks + np.float32([x, y]), abs=1e-3)


def test_a_face_that_is_expected_outside_a_seat_is_not_shown() -> None:
    """Six faces of which three are searched in a frame; all leave their seats for the middle."""
    left, right = ([[x, 0.0], [x + 0.4, 0.0], [x + 0.4, 1.0], [x, 1.0]] for x in (0.0, 0.6))
    seats = {"left": {"polygon": left}, "right": {"polygon": right}}
    zones = ZonesConfig.model_validate({"seats": seats})
    world = World(zones=zones)

    def leaving(time_s: float) -> Faces:
        moved = 90 * max(0.0, time_s - 1.0)
        places = [(x, y) for x in (200 + moved, 440 - moved) for y in (60, 190, 320)]
        return {100 + number: box(x, y) for number, (x, y) in enumerate(places)}

    seen = world.watch(2.0, leaving)
    assert any("predicted" in how(each) for each in seen)
    shown = [track.detection.box for each in seen for track in each.tracks]
    assert all(Zones(zones).is_watched(each, WIDTH, HEIGHT) for each in shown)
