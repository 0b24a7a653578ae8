"""Advice for camera and lamp: the level of each value, and what it says to change."""

import re
from dataclasses import replace
from typing import Any

import pytest

from edge.client.advice import (
    Advice,
    FaceValues,
    SourceValues,
    face_advice,
    needed_size_px,
    no_face_advice,
    source_advice,
    worst,
)
from edge.config import QualityConfig

LIMITS = QualityConfig()
GOOD = FaceValues(
    name="face 4", read=1.0, reasons=(), size_px=200.0, sharpness=0.09, brightness=0.5,
    saturated=0.01, yaw_deg=-5.0, tilt_deg=3.0, room=1.0, edge="left",
)  # fmt: skip
RUNNING = SourceValues(
    source_state="running", source_reason="", picture_state="normal", expected_hz=30.0,
    captured_hz=30.0, published_hz=29.9, rate_divisor=1, rate_reason=None, dropped=0.0,
    throttled=(), faces=1, ignored=0,
)  # fmt: skip


def of_face(**values: Any) -> dict[str, Advice]:
    found = face_advice(replace(GOOD, **values), LIMITS, 92.0)
    assert {each.subject for each in found} == {"face 4"}
    return {each.measure: each for each in found}


def of_source(**values: Any) -> dict[str, Advice]:
    return {each.measure: each for each in source_advice(replace(RUNNING, **values))}


def test_a_good_face_in_a_good_picture_needs_nothing() -> None:
    for found in (of_face(), of_source()):
        assert {each.level for each in found.values()} == {"ok"}
        assert not any(each.text for each in found.values())
    assert no_face_advice(RUNNING, 92.0) is None


def test_no_value_is_minus_zero() -> None:
    face = replace(GOOD, room=-0.04, yaw_deg=-0.2, tilt_deg=-0.2, edge="right")
    values = " ".join(each.value for each in face_advice(face, LIMITS, 92.0))
    assert not re.search(r"-0(\.0)?\b(?!\.)", values)


@pytest.mark.parametrize(
    ("measure", "values", "level", "words"),
    [
        ("read", {"read": 0.4, "reasons": ("too_dark", "blurred")}, "WRONG", "too dark, blurred"),
        ("read", {"read": 0.8, "reasons": ("blurred",)}, "WARN", "not read: blurred"),
        ("face size", {"size_px": 28.9}, "WRONG", "to 31 % of the distance"),
        ("face size", {"size_px": 41.0}, "WARN", "to 45 % of the distance, or use a longer lens"),
        ("face size", {"size_px": 0.0}, "WRONG", "to 1 % of the distance"),
        ("focus", {"sharpness": 0.02}, "WRONG", "focus on the face"),
        ("focus", {"sharpness": 0.05}, "WARN", "focus on the face"),
        ("brightness", {"brightness": 0.1}, "WRONG", "more light"),
        ("brightness", {"brightness": 0.15}, "WARN", "more light"),
        ("brightness", {"brightness": 0.88}, "WARN", "less light"),
        ("brightness", {"brightness": 0.95}, "WRONG", "less light"),
        ("lamp spots", {"saturated": 0.1}, "WARN", "diffuse it"),
        ("lamp spots", {"saturated": 0.2}, "WRONG", "diffuse it"),
        ("turned", {"yaw_deg": 45.0}, "WARN", "to the picture's right"),
        ("turned", {"yaw_deg": -70.0}, "WRONG", "to the picture's left"),
        ("tilted", {"tilt_deg": 30.0}, "WARN", "30 degrees clockwise"),
        ("tilted", {"tilt_deg": -30.0}, "WARN", "30 degrees counterclockwise"),
        ("place", {"room": 0.1, "edge": "lower"}, "WARN", "close to the lower edge"),
        ("place", {"room": -0.1, "edge": "upper"}, "WARN", "upper edge of the picture cuts"),
    ],
)
def test_what_to_change_for_a_face(
    measure: str, values: dict[str, Any], level: str, words: str
) -> None:
    found = of_face(**values)
    assert found[measure].level == level
    assert words in found[measure].text
    assert {each.level for name, each in found.items() if name != measure} == {"ok"}


@pytest.mark.parametrize(
    ("measure", "values", "level", "words"),
    [
        ("source", {"source_state": "stalled"}, "WRONG", "cable and power"),
        ("source", {"source_state": "absent", "source_reason": "busy"}, "WRONG", "(busy)"),
        ("source", {"source_state": "restarting"}, "WRONG", "log"),
        ("source", {"source_state": "starting"}, "unknown", ""),
        ("picture", {"picture_state": "dark"}, "WRONG", "uncover the lens"),
        ("picture", {"picture_state": "flat"}, "WRONG", "no detail"),
        ("picture", {"picture_state": "frozen"}, "WRONG", "restart the camera"),
        ("picture", {"picture_state": "still"}, "WARN", "file"),
        ("rate", {"captured_hz": 20.0, "published_hz": 20.0}, "WARN", "camera delivers fewer"),
        ("rate", {"published_hz": 10.0}, "WRONG", "board is too slow"),
        (
            "rate",
            {"published_hz": 14.0, "rate_divisor": 2, "rate_reason": "temperature"},
            "WRONG",
            "cool the board",
        ),
        ("frames lost", {"dropped": 0.2}, "WARN", "cannot keep up"),
        ("board", {"throttled": ("under_voltage",)}, "WARN", "power supply"),
        ("board", {"throttled": ("throttled",)}, "WARN", "cool it"),
    ],
)
def test_what_to_change_for_the_device(
    measure: str, values: dict[str, Any], level: str, words: str
) -> None:
    found = of_source(**values)
    assert found[measure].level == level
    assert words in found[measure].text
    assert {each.level for name, each in found.items() if name != measure} <= {"ok"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "is somebody there"),
        ({"ignored": 2}, "2 outside of the seats"),
        ({"picture_state": "dark"}, "the picture is dark"),
        ({"picture_state": "flat"}, "the picture is flat"),
        ({"picture_state": "frozen"}, "the picture is frozen"),
    ],
)
def test_why_no_face_is_in_view(values: dict[str, Any], words: str) -> None:
    found = no_face_advice(replace(RUNNING, faces=0, **values), 92.0)
    assert found is not None
    assert found.level == "WRONG"
    assert words in found.text
    stalled = replace(RUNNING, faces=0, source_state="stalled", **values)
    assert no_face_advice(stalled, 92.0) is None


@pytest.mark.parametrize(
    ("detector", "width", "height", "needed"),
    [
        ("centerface-320x192", 1280, 720, 92.0),
        ("centerface-320x192", 1920, 1080, 138.0),
        ("centerface-640x384", 1920, 1080, 69.0),
        ("centerface-320x192", 320, 180, 43.5),  # reading needs more pixels than finding
        ("", 1280, 720, 43.5),
        ("mine", 1280, 720, 43.5),
    ],
)
def test_the_needed_size_follows_detector_and_picture(
    detector: str, width: int, height: int, needed: float
) -> None:
    assert needed_size_px(LIMITS, detector, width, height) == pytest.approx(needed)


def test_extreme_limits_give_no_contradiction() -> None:
    limits = QualityConfig(brightness_min=0.9, brightness_max=0.95, saturated_max=0.0)
    for brightness in (0.0, 0.5, 0.92, 1.0):
        found = face_advice(replace(GOOD, brightness=brightness), limits, 92.0)
        assert all(each.text for each in found if each.level != "ok")


def test_the_worst_level() -> None:
    assert worst([]) == "unknown"
    assert worst(source_advice(RUNNING)) == "ok"
    assert worst(face_advice(replace(GOOD, sharpness=0.0), LIMITS, 92.0)) == "WRONG"


def test_without_landmarks_turn_and_tilt_are_unknown_and_not_good() -> None:
    found = of_face(yaw_deg=None, tilt_deg=None)
    for measure in ("turned", "tilted"):
        assert found[measure].level == "unknown"
        assert found[measure].value == "unknown"
        assert found[measure].text == "not known: this detector gives no landmarks"
