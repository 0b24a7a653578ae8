"""What ``check`` says of seats and ignored areas."""

import pytest

from edge.check.check import run_check
from edge.check.zones import zones_lines
from edge.config import load_config

_LEFT = "left = { polygon = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], participant = 'P07' }"
_RIGHT = "right = { polygon = [[0.5, 0.2], [1, 0.2], [1, 1]] }"
_CAMERA = ("source.kind=v4l2", "source.path=/dev/video0", "device.purpose=safety")


def lines(seats: str = "", ignored: str = "", settings: tuple[str, ...] = _CAMERA):
    given = [*settings, f"zones.seats={{ {seats} }}", f"zones.ignored={{ {ignored} }}"]
    return list(zones_lines(load_config(settings=given, environment={})))


def test_without_zones_nothing_is_said() -> None:
    assert lines() == []


def test_seats_and_ignored_areas_are_described() -> None:
    assert lines(f"{_LEFT}, {_RIGHT}", "poster = [[0.6, 0], [1, 0], [1, 0.1], [0.6, 0.1]]") == [
        ("ok", "seat left: 50.0% of the picture, from [0, 0] to [0.5, 1], participant P07"),
        ("ok", "seat right: 20.0% of the picture, from [0.5, 0.2] to [1, 1]"),
        ("ok", "ignored area poster: 4.0% of the picture, from [0.6, 0] to [1, 0.1]"),
    ]


def test_the_share_of_a_seat_that_is_ignored_is_given() -> None:
    half = "door = [[0, 0], [0.25, 0], [0.25, 1], [0, 1]]"
    (level, text), _ = lines(_LEFT, half)
    assert (level, text.endswith("; 50% of it is ignored (door)")) == ("ok", True)
    (level, text), _ = lines(_LEFT, "all = [[0, 0], [1, 0], [1, 1], [0, 1]]")
    assert level == "WARN"
    assert "100% of it is ignored (all); nobody on it is looked at" in text


def test_a_picture_that_is_ignored_as_a_whole_is_warned_of() -> None:
    _, (level, text) = lines("", "all = [[0, 0], [1, 0], [1, 1], [0, 1]]")
    assert level == "WARN"
    assert "nobody is looked at" in text


@pytest.mark.parametrize(
    ("settings", "shows"),
    [
        (_CAMERA, "it is 26x720 pixels, less than the smallest face"),
        ((*_CAMERA, "source.rotate_deg=90"), "it is 14x1280 pixels, less than the smallest face"),
        (("source.kind=demo",), "a side is below 5% of the picture's"),
    ],
)
def test_a_seat_that_is_smaller_than_a_face_is_warned_of(settings, shows) -> None:
    ((level, text),) = lines(
        "a = { polygon = [[0, 0], [0.02, 0], [0.02, 1], [0, 1]] }", "", settings
    )
    assert level == "WARN"
    assert shows in text


def test_check_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(settings=[f"zones.seats={{ {_LEFT} }}"], environment={})
    assert run_check(config) == 0
    assert "ok     seat left: 50.0% of the picture" in capsys.readouterr().out
