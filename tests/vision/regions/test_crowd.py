"""More faces than a full look costs, where full looks are to be rarer."""

import pytest

from edge.vision.regions.schedule import CROWD_EVERY_NS
from tests.support.rectangles import RATE_HZ, Faces, box
from tests.vision.regions.test_finder import World


def crowd(t: float) -> Faces:
    """Return 30 faces that move slowly, each its own way."""
    return {
        100 + n: box(70 + 80 * (n % 7) + (4 + n % 5) * t, 40 + 75 * (n // 7) + 5 * t, 40)
        for n in range(30)
    }


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_face_has_a_box_in_each_frame_and_a_measured_one_soon(factor: int) -> None:
    world = World()
    world.pipeline.limit(faces_per_frame=0, full_every_factor=factor)
    measured_s = dict.fromkeys(range(1, 31), 0.0)
    face_of: dict[int, int] = {}
    for number, seen in enumerate(world.watch(1.0, crowd)):
        assert [track.id for track in seen.tracks] == list(range(1, 31))
        now_s, true = number / RATE_HZ, crowd(number / RATE_HZ)
        for track in seen.tracks:
            if track.detection.found != "predicted":
                measured_s[track.id] = now_s
            at = track.detection.box
            face = face_of.setdefault(track.id, max(true, key=lambda each: at.iou(true[each])))
            assert at.iou(true[face]) > 0.7  # rectangles are of whole pixels
        limit_s = (factor - 1) * CROWD_EVERY_NS / 1e9 + 1 / RATE_HZ
        assert max(now_s - at_s for at_s in measured_s.values()) < limit_s
    assert len(world.full_looks) == {1: 25, 2: 7, 4: 3}[factor]
