"""Full looks that follow the answer: the frame does not wait, and the next one gets the result."""

import pytest

from edge.clock import Stopwatch
from edge.config import ZonesConfig
from edge.errors import InferenceError
from edge.vision.values import Detection, Frame
from tests.support.rectangles import RATE_HZ, box, frame_at
from tests.vision.regions.test_finder import World, how, still


def test_a_full_look_that_may_wait_does_not_delay_the_answer() -> None:
    world = World()
    world.watch(0.52, still(box(300)))
    before = len(world.full.looks)
    seen = world.pipeline.detect(frame_at(0.52, {100: box(300)}))
    assert (how(seen), len(world.full.looks)) == (["region"], before)
    world.pipeline.finish_look()
    assert len(world.full.looks) == before + 1
    world.pipeline.finish_look()
    assert len(world.full.looks) == before + 1


@pytest.mark.parametrize("finishes", [True, False])
def test_the_time_of_a_look_that_waited_counts_to_the_next_frame(finishes: bool) -> None:
    world = World(full_every_s=0.1)
    genuine, slow_ms = world.full.detect, 30.0

    def detect(frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        stopwatch.stage_ms["detect"] = stopwatch.stage_ms.get("detect", 0.0) + slow_ms
        return genuine(frame, stopwatch)

    world.full.detect = detect  # type: ignore[method-assign]
    slow = []
    for number in range(8):
        seen = world.pipeline.detect(frame_at(number / RATE_HZ, {100: box(300)}))
        if finishes:
            world.pipeline.finish_look()
        slow.append(seen.stage_ms["detect"] >= slow_ms)
    # looks at the frames 0, 3 and 6
    assert slow == [True, False, False, False, True, False, False, True]


def test_what_a_look_that_waited_finds_is_searched_in_the_next_frame() -> None:
    world = World()
    world.watch(0.52, still(box(300)))
    seen = world.watch(0.12, still(box(300), box(500)), start_s=0.52)
    assert [len(each.tracks) for each in seen] == [1, 2, 2]
    assert world.full_looks == [0, 13, 14]


def test_a_face_in_an_ignored_place_needs_no_second_look() -> None:
    right = [[0.6, 0.0], [1.0, 0.0], [1.0, 1.0], [0.6, 1.0]]
    world = World(zones=ZonesConfig.model_validate({"ignored": {"right": right}}))
    seen = world.watch(2.0, still(box(300), box(500)))
    assert {len(each.tracks) for each in seen} == {1}
    assert world.full_looks == [0, 13, 26, 39]


def test_a_face_that_moves_on_after_it_was_found_needs_no_second_look() -> None:
    world = World()
    seen = world.watch(2.0, lambda t: {100: box(300 + 100 * t)})
    assert {len(each.tracks) for each in seen} == {1}
    assert world.full_looks == [0, 13, 26, 39]


def test_faces_that_move_and_share_the_budget_need_no_second_look() -> None:
    world = World()
    seen = world.watch(
        2.0, lambda t: {100 + face: box(60 + 130 * face + 100 * t) for face in range(4)}
    )
    assert {len(each.tracks) for each in seen} == {4}
    assert "predicted" in how(seen[1])
    assert world.full_looks == [0, 13, 26, 39]


def test_a_look_that_failed_is_made_up_for_with_the_next_frame() -> None:
    world = World()
    world.watch(0.52, still(box(300)))
    genuine = world.full.detect

    def refuse(frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        raise InferenceError("no")

    world.full.detect = refuse  # type: ignore[method-assign]
    assert how(world.see(frame_at(0.52, {100: box(300)}))) == ["region"]
    world.full.detect = genuine  # type: ignore[method-assign]
    world.see(frame_at(0.56, {100: box(300)}))
    assert world.full_looks == [0, 14]


def test_a_full_look_decides_whether_the_answer_of_a_region_is_a_face() -> None:
    world = World()
    world.watch(0.4, still(box(300)))
    world.full.hidden = {100}
    seen = world.watch(0.2, still(box(300)), start_s=0.4)
    assert [len(each.tracks) for each in seen] == [1, 1, 1, 1, 0]
    assert world.full_looks == [0, 13, 14]


@pytest.mark.parametrize("rate_hz", [2, 5, 10, 25])
def test_a_face_that_was_missed_once_beside_another_keeps_its_track(rate_hz: int) -> None:
    world, both = World(), {100: box(300), 101: box(500)}
    seen = [world.see(frame_at(number / rate_hz, both)) for number in range(6)]
    world.see(frame_at(6 / rate_hz, {100: box(300)}))
    seen.append(world.see(frame_at(7 / rate_hz, both)))
    assert [each.id for each in seen[-1].tracks] == [each.id for each in seen[-2].tracks] == [1, 2]
