"""The values of the last seconds, from the messages of a device."""

from typing import Any

import pytest

from edge.client.view import FRAMES_MAX, View
from edge.config import QualityConfig
from edge.protocol.messages import FrameMessage, StatusMessage
from tests.support import wire

FRAME_NS = 100_000_000
LEVEL_EYES = [[30.0, 50.0], [70.0, 50.0], [50.0, 70.0], [35.0, 90.0], [65.0, 90.0]]


def face(track: int = 4, **quality: Any) -> dict[str, Any]:
    shown = wire.face(track) | {"landmarks": LEVEL_EYES, "box": [400.0, 200.0, 100.0, 120.0]}
    shown["quality"] = shown["quality"] | quality
    return shown


def frame(index: int, *faces: dict[str, Any], dropped: int = 0, ignored: int = 0) -> FrameMessage:
    message = wire.frame(index, *faces)
    info = message.frame.model_copy(update={"dropped": dropped, "ignored": ignored})
    time = message.time.model_copy(update={"published_ns": index * FRAME_NS})
    return message.model_copy(update={"frame": info, "time": time})


def status(at_ns: int = 0, **fields: Any) -> StatusMessage:
    message = wire.status(3).model_copy(update=fields)
    return message.model_copy(
        update={"time": message.time.model_copy(update={"monotonic_ns": at_ns})}
    )


def test_values_are_medians_of_the_window() -> None:
    view = View()
    assert view.advice() == []
    view.note(status())
    for index in range(100):
        view.note(frame(index, face(brightness=0.1 if index < 70 else 0.5), face(9)))
    assert view.watched_s == pytest.approx(9.9)
    first, second = view.faces()
    assert (first.name, second.name) == ("face 4", "face 9")
    assert first.brightness == 0.5
    assert first.read == 1.0
    assert (first.room, first.edge) == (2.0, "upper")
    assert first.tilt_deg == 0.0


def test_a_face_that_went_is_forgotten() -> None:
    view = View()
    view.note(status())
    for index in range(50):
        view.note(frame(index, *([face()] if index < 15 else [])))
    assert view.faces() == []
    assert [each.measure for each in view.advice()] == ["source", "picture", "rate", "frames lost",
                                                        "faces"]  # fmt: skip


def test_a_flicker_of_one_frame_is_no_face_but_a_slow_source_shows_one() -> None:
    view = View()
    view.note(status())
    view.note(frame(0, face()))
    assert len(view.faces()) == 1
    for index in range(1, 20):
        view.note(frame(index))
    assert view.faces() == []


def test_names_are_those_of_participants_and_seats() -> None:
    view = View()
    for index in range(3):
        view.note(
            frame(
                index,
                face(4) | {"participant": "P07", "seat": "left"},
                face(5) | {"seat": "left"},
                face(6),
            )
        )
    assert {each.name for each in view.faces()} == {"P07", "seat left, face 5", "face 6"}


def test_why_a_face_is_not_read() -> None:
    view = View()
    dark = wire.face(4, reasons=("too_dark",), classified=False)
    both = wire.face(4, reasons=("blurred", "too_dark"), classified=False)
    for index, shown in enumerate((dark, both, face(), face())):
        view.note(frame(index, shown))
    (values,) = view.faces()
    assert values.read == 0.5
    assert values.reasons == ["too_dark", "blurred"]


def test_a_tilted_face_at_the_edge() -> None:
    tilted = [[30.0, 30.0], [70.0, 70.0], [50.0, 70.0], [35.0, 90.0], [65.0, 90.0]]
    for x, y, room, edge in (
        (-10.0, 300.0, -0.1, "left"),
        (1170.0, 300.0, 0.1, "right"),
        (500.0, 590.0, 0.1, "lower"),
    ):
        view = View()
        shown = face() | {"landmarks": tilted, "box": [x, y, 100.0, 120.0]}
        view.note(frame(1, shown))
        (values,) = view.faces()
        assert values.tilt_deg == pytest.approx(45.0)
        assert (values.room, values.edge) == (pytest.approx(room), edge)


def test_lost_and_ignored_frames() -> None:
    view = View()
    for index in range(4):
        view.note(frame(index, dropped=3, ignored=2))
    values = view.source(status(), 0)
    assert values.dropped == 0.75
    assert values.ignored == 2


def test_limits_and_detector_are_those_of_the_daemon() -> None:
    view = View()
    assert view.needed_px() == pytest.approx(43.5)
    started = {"config": {"quality": QualityConfig(size_min_px=100.0).model_dump()}}
    view.note(wire.event(0, "epoch_started", started))
    assert view.limits.size_min_px == 100.0
    assert view.preview is False  # of a version without it
    models = {"detector": {"name": "centerface-320x192", "sha256": "0"}}
    view.note(wire.event(1, "worker_started", {"models": models, "memory_locked": True}))
    assert view.needed_px() == pytest.approx(150.0)
    config = {"preview": {"enabled": True}, "quality": {"size_min_px": "big"}}
    view.note(wire.event(2, "epoch_started", {"config": config}))
    assert view.preview is True
    assert view.limits == QualityConfig()
    assert view.needed_px() == pytest.approx(92.0)
    view.note(wire.event(3, "epoch_started", {"config": []}))
    assert view.preview is None
    view.note(wire.event(4, "worker_started", {"models": {"detector": 5}}))
    view.note(wire.event(5, "worker_started", {"models": [1]}))
    assert view.limits == QualityConfig()


def test_the_reason_of_an_outage_is_shown() -> None:
    view = View()
    view.note(wire.event(0, "source_state", {"state": "absent", "reason": "no such camera"}))
    view.note(status(source_state="absent"))
    (advice,) = view.advice()
    assert "no such camera" in advice.text


def test_memory_is_bounded() -> None:
    view = View()
    for index in range(3 * FRAMES_MAX):
        message = frame(index, face())
        time = message.time.model_copy(update={"published_ns": 0})
        view.note(message.model_copy(update={"time": time}))
    assert len(view._frames) == FRAMES_MAX
