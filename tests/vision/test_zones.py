"""Zones: who is looked at, and in which seat."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Config, ZonesConfig
from edge.vision.values import Box, Detection
from edge.vision.zones import Zones
from tests.vision.test_pipeline import FixedDetector, FixedExpression, face, frame, pipeline

LEFT = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
RIGHT = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
POSTER = [[0.75, 0.0], [1.0, 0.0], [1.0, 1.0], [0.75, 1.0]]


def zones(seats: dict[str, object], ignored: dict[str, object] | None = None) -> ZonesConfig:
    raw = {"seats": {name: {"polygon": area} for name, area in seats.items()}}
    return ZonesConfig.model_validate({**raw, "ignored": ignored or {}})


def boxes() -> st.SearchStrategy[Box]:
    return st.builds(
        Box,
        st.floats(-400, 1700),
        st.floats(-400, 900),
        st.floats(0, 800),
        st.floats(0, 800),
    )


@given(boxes(), st.integers(1, 4096), st.integers(1, 4096))
def test_a_face_is_in_at_most_one_seat_and_watched_only_there(box, width, height):
    both = Zones(zones({"left": LEFT, "right": RIGHT}, {"poster": POSTER}))
    alone = {name: Zones(zones({name: area})) for name, area in (("left", LEFT), ("right", RIGHT))}
    seats = [name for name, each in alone.items() if each.seat(box, width, height) is not None]
    assert seats == [name for name in [both.seat(box, width, height)] if name is not None]
    is_on_poster = not Zones(zones({}, {"poster": POSTER})).is_watched(box, width, height)
    assert both.is_watched(box, width, height) == (len(seats) == 1 and not is_on_poster)


def test_without_zones_every_face_is_watched():
    detection = Detection(Box(-50, -50, 10, 10), np.zeros((5, 2), np.float32), 0.9)
    assert Zones(ZonesConfig()).keep([detection], 100, 100) == [detection]
    assert Zones(ZonesConfig()).seat(detection.box, 100, 100) is None


class Counting(FixedExpression):
    """Counts which faces are classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lefts: list[float] = []

    def predict(self, frame, box, stopwatch, translator):  # type: ignore[no-untyped-def]
        self.lefts.append(box.x)
        return super().predict(frame, box, stopwatch, translator)


def run(config: ZonesConfig, *lefts: float) -> tuple[list[tuple[float, str | None]], int, list]:
    """Return (left side, seat) of the published faces, faces left aside, classified left sides."""
    expression = Counting()
    detector = FixedDetector(*(face(left, 0.9) for left in lefts))
    state = pipeline(detector, expression, Config(zones=config)).step(frame())
    published = [(each.track.detection.box.x, each.seat) for each in state.faces]
    return sorted(published), state.ignored, sorted(expression.lefts)


def test_only_faces_in_seats_are_tracked_classified_and_published():
    seat = [[0.25, 0.0], [0.5, 0.0], [0.5, 1.0], [0.25, 1.0]]  # 400 to 800 of 1600 pixels
    assert run(zones({"left": seat}), 100, 386, 500, 784.9, 785, 1500) == (
        [(386, "left"), (500, "left"), (784.9, "left")],  # by the centre of the box
        3,
        [386, 500, 784.9],
    )
    assert run(zones({"left": seat})) == ([], 0, [])
    assert run(zones({"left": seat}), 100) == ([], 1, [])


def test_faces_in_ignored_areas_are_left_aside_within_a_seat_too():
    assert run(zones({}, {"poster": POSTER}), 100, 1300) == ([(100, None)], 1, [100])
    assert run(zones({"all": [*LEFT[:1], *RIGHT[1:3], LEFT[3]]}, {"p": POSTER}), 100, 1300) == (
        [(100, "all")],
        1,
        [100],
    )


def test_thirty_bystanders_do_not_displace_a_participant():
    seat = [[0.0, 0.0], [0.1, 0.0], [0.1, 1.0], [0.0, 1.0]]
    lefts = [200 + 46 * index for index in range(30)]
    published, ignored, classified = run(zones({"left": seat}), 50, *lefts)
    assert (published, ignored, classified) == ([(50, "left")], 30, [50])
