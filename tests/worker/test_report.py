"""The report of a frame: the worker's JSON is exactly what the models of the wire make."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import MeshConfig
from edge.link import FrameReport, ReportRefused
from edge.protocol.messages import FACES, Face
from edge.vision.face_message import faces_json
from edge.vision.mesh.names import COEFFICIENTS, SUMMARY
from edge.vision.values import (
    Affect,
    Box,
    Detection,
    FaceState,
    Frame,
    FrameState,
    LidMeasures,
    Mesh,
    Prediction,
    Quality,
    SmoothedPrediction,
    Track,
)
from edge.vocabulary import EXPRESSIONS
from edge.worker.report import frame_report

pixel = st.floats(-1e6, 1e6, width=32)
share = st.floats(0, 1, width=32)
signed = st.floats(-1, 1, width=32)
affects = st.builds(Affect, signed, signed)
predictions = st.builds(
    Prediction, st.lists(share, min_size=8, max_size=8).map(lambda x: np.array(x, np.float32)),
    affects,
)  # fmt: skip
meshes = st.builds(
    Mesh,
    *[st.floats(-180, 180)] * 3,
    *[share] * 3,
    coefficients=st.integers(0, 9).map(
        lambda seed: np.random.default_rng(seed).random(52, np.float32)
    ),
    points=st.integers(0, 9).map(
        lambda seed: np.random.default_rng(seed).normal(400, 300, (478, 3)).astype(np.float32)
    ),
)
faces = st.builds(
    FaceState,
    track=st.builds(
        Track,
        id=st.integers(1, 2**40),
        detection=st.builds(
            Detection,
            st.builds(Box, pixel, pixel, pixel, pixel),
            st.lists(pixel, min_size=10, max_size=10).map(
                lambda x: np.array(x, np.float32).reshape(5, 2)
            ),
            share,
        ),
        age_s=st.integers(0, 10**15).map(lambda ns: ns / 1e9),
    ),
    quality=st.builds(
        Quality, usable=st.booleans(), reasons=st.lists(st.sampled_from(["blurred", "too_dark"]),
        max_size=2).map(tuple), size_px=pixel, sharpness=st.floats(0, 100, width=32),
        brightness=share, saturated=share, yaw_deg=st.floats(-90, 90, width=32),
    ),
    prediction=st.none() | predictions,
    smoothed=st.builds(SmoothedPrediction, affects, st.sampled_from(EXPRESSIONS)),
    seat=st.none() | st.text(max_size=5),
    reading_age_ns=st.integers(0, 1000).map(lambda ms: ms * 1_000_000),
    mesh=st.none() | meshes,
    lids=st.builds(
        LidMeasures,
        st.none() | share,
        st.none() | st.floats(0, 200),
        st.sampled_from(["", "too_short"]),
        st.sampled_from(["", "too_seldom"]),
        st.none() | st.integers(0, 1000).map(lambda ms: ms * 1_000_000),
    ),
)  # fmt: skip


MESH = MeshConfig()
NAMES = {"none": (), "summary": SUMMARY, "all": COEFFICIENTS}


def as_model(face: FaceState, mesh: MeshConfig = MESH) -> Face:
    """Return ``face`` as the wire model, which rounds and checks every number."""
    detection, quality, shown = face.track.detection, face.quality, face.prediction is not None
    box = detection.box
    fields: dict[str, Any] = {
        "track": face.track.id,
        "seat": face.seat,
        "box": [box.x, box.y, box.width, box.height],
        "landmarks": detection.landmarks.tolist(),
        "score": detection.score,
        "found": detection.found,
        "age_s": face.track.age_s,
        "quality": {
            "usable": quality.usable,
            "reasons": list(quality.reasons),
            "size_px": quality.size_px,
            "sharpness": quality.sharpness,
            "brightness": quality.brightness,
            "saturated": quality.saturated,
            "yaw": quality.yaw_deg,
        },
        "expression": None,
        "affect": None,
    }
    if shown:
        assert face.prediction is not None
        assert face.smoothed is not None
        shares = face.prediction.probabilities.tolist()
        fields["expression"] = {
            "label": EXPRESSIONS[int(np.argmax(shares))],
            "probabilities": dict(zip(EXPRESSIONS, shares, strict=True)),
            "stable_label": face.smoothed.stable_label,
            "age_s": face.reading_age_ns / 1e9,
        }
        raw, smoothed = face.prediction.affect, face.smoothed.affect
        fields["affect"] = {
            "valence": raw.valence,
            "arousal": raw.arousal,
            "smoothed": {"valence": smoothed.valence, "arousal": smoothed.arousal},
        }
    if face.mesh is not None:
        assert face.lids is not None
        found = dict(zip(COEFFICIENTS, face.mesh.coefficients.tolist(), strict=True))
        fields["mesh"] = {
            "pose": {
                "yaw": face.mesh.yaw_deg,
                "pitch": face.mesh.pitch_deg,
                "roll": face.mesh.roll_deg,
            },
            "eyes": {"left": face.mesh.left_eye, "right": face.mesh.right_eye},
            "mouth": face.mesh.mouth,
            "lids": {
                "perclos": face.lids.perclos,
                "perclos_reason": face.lids.perclos_reason,
                "blinks_per_min": face.lids.blinks_per_min,
                "blinks_reason": face.lids.blinks_reason,
                "closed_s": None if face.lids.closed_ns is None else face.lids.closed_ns / 1e9,
            },
            "coefficients": {name: found[name] for name in NAMES[mesh.coefficients]},
            "landmarks": face.mesh.points[:, :2].tolist() if mesh.landmarks else None,
        }
    return Face.model_validate(fields)


def state(*found: FaceState) -> FrameState:
    frame = Frame(np.zeros((4, 6), np.uint8), index=3, sensor_ns=-5, clock="media", captured_ns=7,
                  capture_ms=0.5, file="ä.png", page=2)  # fmt: skip
    return FrameState(frame, found, {"detect": 1.25}, ignored=1)


@given(
    st.lists(faces, max_size=3),
    st.builds(MeshConfig, coefficients=st.sampled_from(sorted(NAMES)), landmarks=st.booleans()),
)
def test_faces_are_encoded_as_the_models_encode_them(
    found: list[FaceState], mesh: MeshConfig
) -> None:
    assert faces_json(found, mesh) == FACES.dump_json([as_model(face, mesh) for face in found])


@given(st.lists(faces, max_size=3))
def test_a_report_is_what_was_sent(found: list[FaceState]) -> None:
    sent = frame_report(state(*found))
    received = FrameReport.decode(sent.encode())
    assert replace(received, faces=(), faces_json=sent.faces_json) == sent
    assert received.faces == [as_model(face) for face in found]


@given(face=faces, value=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_number_that_is_not_finite_is_never_sent(face: FaceState, value: float) -> None:
    quality = Quality(True, (), 1.0, value, 0.5, 0.5, 0.0)
    with pytest.raises((ValueError, OverflowError)):
        faces_json([FaceState(face.track, quality)])


GOOD = frame_report(state()).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"[",
        b"[]",
        b"[\xff]",
        GOOD[:-3],
        GOOD + b"]",
        GOOD.replace(b",[]]", b",[1]]"),
        GOOD.replace(b",[]]", b",{}]"),
        GOOD.replace(b",[]]", b",{}x]"),
        GOOD.replace(b",[]]", b',[{"track":1}]]'),
        GOOD.replace(b",[]]", b',[{"track":-1,"expression":null}]]'),
        GOOD.replace(b",[]]", b',[{"track":"1","expression":null}]]'),
        GOOD.replace(b",[]]", b',[{"track":1,"expression":NaN}]]'),
        GOOD.replace(b"[3,", b"[-3,"),
        GOOD.replace(b"[3,", b"[3.5,"),
        GOOD.replace(b"[3,", b"[true,"),
        GOOD.replace(b"[3,", b"[99999999999999999999999,"),
        GOOD.replace(b"-5", b"null"),
        GOOD.replace(b'"media"', b'"sundial"'),
        GOOD.replace(b'"media"', b"[]"),
        GOOD.replace(b"1.25", b"-1.25"),
        GOOD.replace(b"1.25", b'"1.25"'),
        GOOD.replace('"ä.png"'.encode(), b"7"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(raw: bytes) -> None:
    assert raw != GOOD
    with pytest.raises(ReportRefused) as error:
        FrameReport.decode(raw)
    assert "\n" not in str(error.value)


@given(faces)
def test_fields_that_a_face_does_not_have_go_no_further(face: FaceState) -> None:
    sent = replace(frame_report(state()), faces_json=faces_json([face]))
    assert sent.faces_json.startswith(b"[{")
    more = replace(sent, faces_json=b'[{"pixels":"AAAA",' + sent.faces_json[2:])
    assert FrameReport.decode(more.encode()).faces == FrameReport.decode(sent.encode()).faces


@pytest.mark.parametrize(
    ("mesh", "measured"),
    [
        (MeshConfig(faces_per_frame=48), 48),
        (MeshConfig(faces_per_frame=24, coefficients="all"), 24),
        (MeshConfig(faces_per_frame=4, coefficients="all", landmarks=True), 4),
    ],
)
def test_the_largest_report_with_meshes_fits_the_link(mesh: MeshConfig, measured: int) -> None:
    detection = Detection(Box(*[-12345.6] * 4), np.full((5, 2), -12345.6, np.float32), 0.1234)
    face = FaceState(
        Track(10**9, detection, 12345.678),
        Quality(True, (), 12345.6, 0.1234, 0.1234, 0.1234, -12.3),
        Prediction(np.full(8, 0.1234, np.float32), Affect(-0.1234, -0.1234)),
        SmoothedPrediction(Affect(-0.1234, -0.1234), "contempt"),
        "a seat of some length",
    )
    numbers = np.full(52, 0.1234, np.float32), np.full((478, 3), 12345.6, np.float32)
    with_mesh = replace(
        face,
        mesh=Mesh(-123.4, -123.4, -123.4, 0.1234, 0.1234, 0.1234, *numbers),
        lids=LidMeasures(None, None, "too_seldom", "too_seldom"),
    )
    faces = [with_mesh] * measured + [face] * (48 - measured)
    assert len(frame_report(state(*faces), mesh).encode()) < 128 * 1024
