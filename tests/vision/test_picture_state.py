"""Stall, stillness and nothing to see: reported once, after the stated time, and taken back."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from edge.config import (
    Config,
    DemoSource,
    DeviceConfig,
    ImagesSource,
    LimitsConfig,
    PicameraSource,
    SourceConfig,
    StreamSource,
    V4l2Source,
    VideoSource,
)
from edge.protocol.events import PictureStateChanged
from edge.vision import picture
from edge.vision.picture_rules import (
    CAUSES,
    NOTHING_S,
    PICTURES_MIN,
    RULES,
    SOMETHING_S,
    STILL_S,
    rules_line,
)
from edge.vision.picture_state import PictureWatch
from edge.vision.values import Frame, Luma
from edge.vocabulary import PICTURE_GRADES, PICTURE_STATES, PictureState

PAGE = Path(__file__).parents[2] / "docs" / "operation.md"
CAMERAS = (
    PicameraSource(kind="picamera"),
    V4l2Source(kind="v4l2"),
    StreamSource(kind="stream", url="rtsp://camera/1"),
)
FILES = (
    VideoSource(kind="video", path="x"),
    ImagesSource(kind="images", path="x"),
    DemoSource(),
)
BLACK, GREY = np.zeros((48, 64), np.uint8), np.full((48, 64), 128, np.uint8)
DIAGONAL = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) * 2


def news(number: int, picture: Luma = DIAGONAL) -> Luma:
    """Return ``picture`` as a sensor with noise gives it for the time of this number."""
    noise = np.random.default_rng(number).integers(0, 3, picture.shape, np.uint8)
    noisy: Luma = picture + noise
    return noisy


def told(
    source: SourceConfig,
    pictures: Iterable[Luma],
    rate_hz: float = 10.0,
    state: PictureState = "normal",
    stall_s: float = 2.0,
) -> list[tuple[float, PictureStateChanged]]:
    """Return what is reported, each with the time of the picture at which it is, in seconds."""
    config = Config(
        device=DeviceConfig(purpose="safety"), source=source, limits=LimitsConfig(stall_s=stall_s)
    )
    watch = PictureWatch(config, state)
    found = []
    for index, luma in enumerate(pictures):
        change = watch.update(Frame(luma, index, round(index * 1e9 / rate_hz), "media", 0))
        if change is not None:
            assert change.state == watch.state
            found.append((index / rate_hz, change))
    return found


def summary(found: list[tuple[float, PictureStateChanged]]) -> list[tuple[float, str, int]]:
    return [(at_s, change.state, change.index) for at_s, change in found]


@pytest.mark.parametrize("source", [*CAMERAS, *FILES], ids=lambda source: source.kind)
def test_pictures_that_change_are_normal(source: SourceConfig) -> None:
    assert told(source, map(news, range(200))) == []


@pytest.mark.parametrize("source", [*CAMERAS, *FILES], ids=lambda source: source.kind)
@pytest.mark.parametrize(("picture", "state"), [(BLACK, "dark"), (GREY, "flat")])
@pytest.mark.parametrize("noisy", [True, False])
def test_nothing_to_see_is_reported_after_three_seconds_and_ends_after_one(
    source: SourceConfig, picture: Luma, state: str, noisy: bool
) -> None:
    """Also where a sensor at the end of its range has no noise: that is no stall."""
    nothing = [news(number, picture) if noisy else picture.copy() for number in range(100)]
    found = told(source, [*map(news, range(50)), *nothing, *map(news, range(50))])
    assert summary(found) == [(8.0, state, 50), (16.0, "normal", 150)]
    change = found[0][1]
    assert change.sensor_ns == 5_000_000_000
    assert change.reason == f"{state} for 3.0 s: {CAUSES[change.state]}"
    if state == "flat":
        assert change.contrast is not None
        assert change.contrast < 0.08
    assert change.brightness == pytest.approx(picture.mean() / 255, abs=0.01)
    assert found[1][1].reason == ""


@pytest.mark.parametrize("source", CAMERAS, ids=lambda source: source.kind)
def test_a_camera_whose_picture_stays_the_same_is_frozen(source: SourceConfig) -> None:
    same = [news(4)] * 60
    found = told(source, [*map(news, range(5)), *same, *map(news, range(5, 30))])
    assert summary(found) == [(2.5, "frozen", 5), (6.5, "normal", 65)]
    assert "opened again" in found[0][1].reason
    assert told(source, [*map(news, range(5)), *same], stall_s=7.0) == []


@pytest.mark.parametrize("source", FILES, ids=lambda source: source.kind)
def test_a_file_whose_picture_stays_the_same_is_still(source: SourceConfig) -> None:
    found = told(source, [*[news(4)] * 60, *map(news, range(5, 30))])
    assert summary(found) == [(2.1, "still", 1), (6.0, "normal", 60)]
    assert "a file may be so" in found[0][1].reason


def test_pictures_that_change_now_and_then_are_alive() -> None:
    assert told(CAMERAS[0], [news(number // 18) for number in range(200)]) == []


@pytest.mark.parametrize("rate_hz", [0.5, 0.2])
def test_a_slow_source_has_to_show_some_pictures_first(rate_hz: float) -> None:
    period_s = 1 / rate_hz
    found = told(FILES[1], [BLACK] * 9, rate_hz)
    assert summary(found) == [(3 * period_s, "dark", 0)]
    found = told(FILES[1], [news(1)] * 9, rate_hz)
    assert summary(found) == [(4 * period_s, "still", 1)]
    assert told(FILES[1], [news(number // 3) for number in range(30)], rate_hz) == []


def test_a_lamp_that_is_off_for_a_moment_is_not_reported() -> None:
    dark = [news(number, BLACK) for number in range(25)]
    assert told(CAMERAS[0], [*map(news, range(20)), *dark, *map(news, range(20))]) == []


def test_dark_may_become_flat_and_flat_frozen() -> None:
    pictures = [*[BLACK] * 50, *[GREY] * 50, *[news(1)] * 50]
    states = [state for _, state, _ in summary(told(CAMERAS[1], pictures))]
    assert states == ["dark", "flat", "normal", "frozen"]


@pytest.mark.parametrize("state", ["dark", "flat", "frozen"])
def test_what_the_hub_knows_already_is_only_taken_back(state: PictureState) -> None:
    found = told(CAMERAS[0], map(news, range(50)), state=state)
    assert [change.state for _, change in found] == ["normal"]
    if state == "dark":
        assert told(CAMERAS[0], [BLACK] * 50, state=state) == []


def test_tiny_pictures_are_only_compared() -> None:
    (change,) = (change for _, change in told(FILES[1], [np.zeros((1, 1), np.uint8)] * 40))
    assert change.state == "still"
    assert change.brightness is change.brightest is change.contrast is None


@pytest.mark.parametrize("source", [*CAMERAS, *FILES], ids=lambda source: source.kind)
def test_check_names_the_rules_of_the_configured_source(source: SourceConfig) -> None:
    line = rules_line(source.kind, 2.5)
    assert ("2.5 s is a stall" in line) == (source in CAMERAS)
    assert "dark or flat ones, after 3 s" in line


# -- the tables of docs/operation.md ---------------------------------------------------------------


def row(beginning: str) -> str:
    """Return the row of a table that begins so."""
    (found,) = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(beginning)]
    return found


def test_every_kind_of_source_is_in_the_table_with_its_limits() -> None:
    assert set(RULES) == {source.kind for source in (*CAMERAS, *FILES)}
    for kind, rules in RULES.items():
        limit = "`limits.stall_s`" if rules.repeated == "frozen" else f"{STILL_S:g} s"
        words = row(f"| {rules.name} (`{kind}`) |")
        assert f"worker after {limit} and {PICTURES_MIN} pictures: `{rules.repeated}`" in words
        assert f"worker after {NOTHING_S:g} s and {PICTURES_MIN} pictures: `dark`, `flat`" in words


def test_every_state_is_in_the_table_with_its_limits_and_grade() -> None:
    assert set(CAUSES) == set(PICTURE_STATES)
    for state in PICTURE_STATES:
        grade = PICTURE_GRADES.get(state)
        assert row(f"| `{state}` |").endswith(f"| {grade}, `picture_{state}` |" if grade else "| |")
    dark, flat = row("| `dark` |"), row("| `flat` |")
    assert (
        f"areas below {picture.DIM:g} of 255 and structure below {picture.STRUCTURE_MIN:g}, or"
        in dark
    )
    assert f"areas below {picture.BLACK:g} of 255 |" in dark
    assert f"contrast below {picture.CONTRAST_MIN:g} |" in flat
    for words in (dark, flat):
        assert f"other pictures for {SOMETHING_S:g} s" in words
