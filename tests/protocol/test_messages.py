"""The wire format: round trips, refused messages, ignored fields of later versions."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.protocol.json_schema import json_schema
from edge.protocol.messages import (
    EventMessage,
    EventTime,
    Face,
    FrameInfo,
    FrameMessage,
    FrameTime,
    Health,
    Point,
    Rates,
    StageTimes,
    StatusMessage,
    decode,
    encode,
    topic,
)
from edge.vision.mesh.names import SUMMARY
from edge.vocabulary import EXPRESSIONS
from tests.support import wire

HEAD: dict[str, Any] = {"device": "chamber-1", "stream": "s", "epoch": 3}
share = st.floats(0, 1)
signed = st.floats(-1, 1)
pixel = st.floats(-1e5, 1e5)
time_ns = st.integers(0, 2**62)

affects = st.fixed_dictionaries(
    {
        "valence": signed,
        "arousal": signed,
        "smoothed": st.fixed_dictionaries({"valence": signed, "arousal": signed}),
    }
)
expressions = st.fixed_dictionaries(
    {
        "label": st.sampled_from(EXPRESSIONS),
        "stable_label": st.sampled_from(EXPRESSIONS),
        "probabilities": st.fixed_dictionaries(dict.fromkeys(EXPRESSIONS, share)),
    }
)
meshes = st.fixed_dictionaries(
    {
        "pose": st.fixed_dictionaries(dict.fromkeys(("yaw", "pitch", "roll"), pixel)),
        "eyes": st.fixed_dictionaries({"left": share, "right": share}),
        "mouth": share,
        "lids": st.fixed_dictionaries(
            {
                "perclos": st.none() | share,
                "perclos_reason": st.sampled_from(["", "too_short"]),
                "blinks_per_min": st.none() | st.floats(0, 200),
                "blinks_reason": st.sampled_from(["", "too_seldom"]),
                "closed_s": st.none() | st.floats(0, 1e5),
            }
        ),
        "coefficients": st.dictionaries(st.sampled_from(SUMMARY), share, max_size=3),
        "landmarks": st.none() | st.lists(st.lists(pixel, min_size=2, max_size=2), max_size=3),
    }
)
faces = st.fixed_dictionaries(
    {
        "track": st.integers(0, 10**6),
        "box": st.lists(pixel, min_size=4, max_size=4),
        "landmarks": st.lists(st.lists(pixel, min_size=2, max_size=2), min_size=5, max_size=5),
        "score": share,
        "age_s": st.floats(0, 1e6),
        "quality": st.fixed_dictionaries(
            {
                "usable": st.booleans(),
                "reasons": st.lists(st.sampled_from(["blurred", "too_dark"]), max_size=2),
                "size_px": pixel,
                "sharpness": st.floats(0, 100),
                "brightness": share,
                "saturated": share,
                "yaw": st.floats(-90, 90),
            }
        ),
        "expression": st.none() | expressions,
        "affect": st.none() | affects,
        "mesh": st.none() | meshes,
    }
).map(Face.model_validate)
frames = st.builds(
    FrameMessage,
    **{key: st.just(value) for key, value in HEAD.items()},
    seq=st.integers(0, 2**40),
    frame=st.builds(FrameInfo, *[], index=st.integers(0, 2**40), width=st.integers(1, 9999),
                    height=st.integers(1, 9999), dropped=st.integers(0, 99)),
    time=st.builds(FrameTime, sensor_ns=time_ns, clock=st.sampled_from(["monotonic", "media"]),
                   exposure_us=st.none() | st.integers(0, 10**6), unix_ns=time_ns,
                   published_ns=time_ns, synchronized=st.booleans(),
                   max_error_us=st.none() | st.integers(0, 10**6)),
    timing_ms=st.builds(StageTimes, **dict.fromkeys(
        ("capture", "detect", "track", "classify", "total"), st.floats(0, 1e5))),
    faces=st.lists(faces, max_size=3),
)  # fmt: skip
event_times = st.builds(
    EventTime, monotonic_ns=time_ns, unix_ns=time_ns, synchronized=st.booleans()
)
events = st.builds(
    EventMessage,
    **{key: st.just(value) for key, value in HEAD.items()},
    seq=st.integers(0, 2**40),
    time=event_times,
    event=st.sampled_from(["mark", "source_state"]),
    detail=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)
statuses = st.builds(
    StatusMessage,
    **{key: st.just(value) for key, value in HEAD.items()},
    time=event_times,
    last_seq=st.integers(-1, 2**40),
    health=st.builds(Health, grade=st.sampled_from(["fair", "poor"]), reasons=st.just(["rate"])),
    source_state=st.just("running"),
    rates=st.builds(Rates, captured_hz=st.floats(0, 1000), published_hz=st.floats(0, 1000)),
    frames_published=st.integers(0, 99),
    frames_dropped=st.integers(0, 99),
    worker_restarts=st.integers(0, 9),
)
messages = frames | events | statuses


def refuse_constant(text: str) -> float:
    raise AssertionError(f"{text} on the wire")


@given(messages)
def test_decoding_reverses_encoding(message: FrameMessage | EventMessage | StatusMessage) -> None:
    part = encode(message)
    assert decode(part) == message
    assert encode(decode(part)) == part
    head, _, body = part.partition(b" ")
    assert (
        head.decode() == topic(message.kind, "chamber-1") == f"affect.v1.{message.kind}.chamber-1"
    )
    data = json.loads(body, parse_constant=refuse_constant)
    assert data["schema"] == "affect.v1"
    assert b"-0.0," not in body
    assert b"-0.0]" not in body


@given(messages)
def test_fields_of_later_versions_are_ignored(
    message: FrameMessage | EventMessage | StatusMessage,
) -> None:
    head, _, body = encode(message).partition(b" ")
    data = json.loads(body)
    data["later"] = {"a": [1]}
    data["time"]["later"] = None
    assert decode(head + b" " + json.dumps(data).encode()) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@given(face=faces)
def test_nan_and_infinity_are_refused(value: float, face: Face) -> None:
    for path in (["score"], ["age_s"], ["box", 0], ["landmarks", 2, 1], ["quality", "sharpness"]):
        data = face.model_dump()
        target: Any = data
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        with pytest.raises(ValidationError):
            Face.model_validate(data)


@pytest.mark.parametrize(
    "part",
    [b"", b"affect.v1.frame.x", b"affect.v1.frame.x {", b"affect.v1.frame.x []", b"x {}",
     b'affect.v1.frame.x {"kind":"frame"}', b'affect.v1.x {"kind":"zoo"}', b"a \xff\xfe",
     b'affect.v1.event.x {"schema":"affect.v2","kind":"event"}'],
)  # fmt: skip
def test_a_part_that_is_not_a_message_is_refused_with_one_line(part: bytes) -> None:
    with pytest.raises(ValueError, match="message") as error:
        decode(part)
    assert "\n" not in str(error.value)


def test_the_schema_contains_every_message() -> None:
    schema = json.loads(json_schema())
    assert schema["title"] == "affect.v1"
    assert {"FrameMessage", "EventMessage", "StatusMessage"} <= set(schema["$defs"])
    assert "schema" in schema["$defs"]["FrameMessage"]["properties"]
    assert json_schema() == json_schema()


def test_the_example_message_is_accepted() -> None:
    example = {
        "schema": "affect.v1", "kind": "frame", "device": "chamber-1", "stream": "x", "epoch": 3,
        "seq": 1042, "frame": {"index": 1107, "width": 1280, "height": 720, "dropped": 0},
        "time": {"sensor_ns": 1, "clock": "monotonic", "exposure_us": 8000, "unix_ns": 2,
                 "published_ns": 3, "synchronized": True, "max_error_us": 350},
        "timing_ms": {"capture": 1.1, "detect": 9.8, "track": 0.3, "classify": 4.2, "total": 17.0},
        "faces": [{"track": 4, "participant": "P07", "box": [1, 2, 3, 4],
                   "landmarks": [[1, 2]] * 5, "score": 0.93, "age_s": 12.4,
                   "quality": {"usable": True, "reasons": [], "size_px": 212, "sharpness": 1.0,
                               "brightness": 0.5, "saturated": 0.0, "yaw": 3.0},
                   "expression": {"label": "happy", "stable_label": "happy",
                                  "probabilities": dict.fromkeys(EXPRESSIONS, 0.125)},
                   "affect": {"valence": 0.61, "arousal": 0.12,
                              "smoothed": {"valence": 0.6, "arousal": 0.1},
                              "relative": None, "baseline": "none"}}],
    }  # fmt: skip
    message = decode(b"affect.v1.frame.chamber-1 " + json.dumps(example).encode())
    assert isinstance(message, FrameMessage)
    again = json.loads(encode(message).partition(b" ")[2])
    # added after the example was written
    example["timing_ms"] |= {"translate": 0.0, "mesh": 0.0}
    example["frame"] |= {"file": None, "page": None, "ignored": 0}
    example["faces"][0] |= {"seat": None, "found": "full", "mesh": None}
    example["faces"][0]["expression"] |= {"age_s": 0.0, "head": "network"}
    example["faces"][0]["affect"]["source"] = "network"
    assert again == example


@given(*[st.floats(-1, 1)] * 2, *[st.floats(-0.9, 0.9)] * 2)
def test_relative_is_the_difference_of_the_logits(
    valence: float, arousal: float, baseline_valence: float, baseline_arousal: float
) -> None:
    point = Point(valence=valence, arousal=arousal)
    baseline = Point(valence=baseline_valence, arousal=baseline_arousal)
    relative = point.relative_to(baseline)
    for value, origin, result in (
        (point.valence, baseline.valence, relative.valence),
        (point.arousal, baseline.arousal, relative.arousal),
    ):
        if abs(value) == 1:
            assert result == value
        else:
            expected = math.tanh(math.atanh(value) - math.atanh(origin))
            assert result == pytest.approx(expected, abs=6e-5)  # rounded to four digits


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10), st.floats(-0.9, 0.9))
def test_relative_is_zero_at_the_baseline_and_keeps_the_order(
    values: list[float], baseline_valence: float
) -> None:
    baseline = Point(valence=baseline_valence, arousal=0)
    assert baseline.relative_to(baseline) == Point(valence=0, arousal=0)
    points = [Point(valence=each, arousal=0) for each in sorted(values)]
    relative = [point.relative_to(baseline).valence for point in points]
    assert relative == sorted(relative)
    assert all(-1 <= each <= 1 for each in relative)


def test_numbers_are_rounded_when_built_and_kept_when_decoded():
    built = wire.frame(1, wire.face() | {"score": 0.123456})
    assert built.faces[0].score == 0.1235
    part = encode(built).replace(b"0.1235", b"0.123456")
    assert decode(part).faces[0].score == 0.123456
    with pytest.raises(ValueError, match="less than or equal to 1"):
        decode(part.replace(b"0.123456", b"1.5"))
