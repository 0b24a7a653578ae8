"""Seats in the configuration."""

import pytest

from edge.config import Config, load_config
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("3", "zones.seats: expected areas by name"),
        ("{ left = 3 }", "zones.seats.left: expected a section with keys"),
        ("{ 7 = { polygon = [[0, 0], [1, 0], [1, 1]] } }", "zones.seats.7: expected a letter"),
        ("{ left = { polgon = 1 } }", "zones.seats.left.polygon: required, and not set"),
        ("{ video = { polygon = 1 } }", "zones.seats.video.polygon: expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [1, 1.1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [nan, 1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [true, 1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 1], [1, 0], [0, 1]] } }", "expected corners in order"),
        ("{ a = { polygon = [[0, 0], [1, 0], [1, 1]], size = 1 } }", "unknown key"),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = '7' } }",
            "zones.seats.a.participant: expected a letter",
        ),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]] },"
            " b = { polygon = [[0.5, 0], [1, 0], [1, 1]] } }",
            "seats a and b overlap at [",
        ),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = 'P1' },"
            " b = { polygon = [[0, 0], [0, 1], [1, 1]], participant = 'P1' } }",
            "seats a and b have the participant P1; expected one seat each",
        ),
    ],
)
def test_wrong_seats_are_refused_in_one_line(value, text):
    with pytest.raises(ConfigError) as refusal:
        load_config(settings=[f"zones.seats={value}"], environment={})
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_seats_may_touch_and_travel_to_the_worker():
    seats = (
        "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = 'P1' },"
        " b = { polygon = [[0, 0], [0, 1], [1, 1]] } }"
    )
    config = load_config(settings=[f"zones.seats={seats}"], environment={})
    assert config.zones.seats["b"].participant is None
    assert Config.model_validate_json(config.model_dump_json()) == config
