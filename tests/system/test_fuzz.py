"""Fuzzing: the pipeline turns any picture into a valid message."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Config
from edge.protocol.messages import (
    FACES,
    FrameInfo,
    FrameMessage,
    FrameTime,
    StageTimes,
    decode,
    encode,
)
from edge.vision.detect import open_detector
from edge.vision.expression import open_expression
from edge.vision.golden import golden_picture
from edge.vision.pipeline import Pipeline
from edge.vision.values import Frame, Luma
from edge.worker.report import frame_report

RANDOM = np.random.default_rng(20)
PERIOD_NS = 33_000_000
LARGEST_MESSAGE = 65_536

Sized = tuple[int, int]  # height, width
TINY: list[Sized] = [(1, 1), (1, 2), (2, 1), (3, 3), (7, 5), (16, 16), (24, 31), (40, 40)]
EXTREME: list[Sized] = [(1, 2000), (2000, 1), (3, 1500), (900, 2), (17, 1024)]
COMMON: list[Sized] = [(120, 160), (192, 320), (240, 320), (288, 352)]
LARGE: list[Sized] = [(1080, 1920), (2160, 3840)]


class CheckedPipeline:
    """A pipeline, with checks of the message of each frame."""

    def __init__(self, config: Config, **networks: Any) -> None:
        self.pipeline = Pipeline(
            networks.get("detector") or open_detector(config.detector),
            networks.get("expression") or open_expression(config.expression),
            config,
        )
        self.frames = self.faces = self.classified = 0

    def step(self, luma: Luma, gap_ns: int = PERIOD_NS) -> FrameMessage:
        """Turn a picture into an encoded message; check and return it."""
        index, self.frames = self.frames, self.frames + 1
        self._sensor_ns = getattr(self, "_sensor_ns", 0) + gap_ns
        state = self.pipeline.step(
            Frame(
                np.ascontiguousarray(luma),
                index=index,
                sensor_ns=self._sensor_ns,
                clock="media",
                captured_ns=self._sensor_ns,
            )
        )
        report = frame_report(state)
        message = FrameMessage(
            device="fuzz",
            stream="8c4f9e04-6a0f-4f4f-9d52-0d3a1e6b2a11",
            epoch=1,
            seq=index,
            frame=FrameInfo(
                index=report.index, width=report.width, height=report.height, dropped=0
            ),
            time=FrameTime(
                sensor_ns=report.sensor_ns,
                clock=report.clock,
                exposure_us=report.exposure_us,
                unix_ns=report.sensor_ns,
                published_ns=report.captured_ns,
                synchronized=False,
            ),
            timing_ms=StageTimes(capture=0, detect=0, track=0, classify=0, total=0),
            faces=FACES.validate_json(report.faces_json),
        )
        part = encode(message)
        assert len(part) <= LARGEST_MESSAGE
        self._check(parse_strictly(part.partition(b" ")[2]), luma.shape)
        assert decode(part) == message
        self.faces += len(message.faces)
        self.classified += sum(face.expression is not None for face in message.faces)
        return message

    @staticmethod
    def _check(message: dict[str, Any], shape: tuple[int, ...]) -> None:
        assert (message["frame"]["height"], message["frame"]["width"]) == shape
        tracks = [face["track"] for face in message["faces"]]
        assert len(tracks) == len(set(tracks))
        for face in message["faces"]:
            assert face["box"][2] >= 0
            assert face["box"][3] >= 0
            classified = face["expression"] is not None
            assert classified == (face["affect"] is not None)
            assert classified == face["quality"]["usable"]
            assert classified != bool(face["quality"]["reasons"])
            if classified:
                probabilities = face["expression"]["probabilities"]
                assert sum(probabilities.values()) == pytest.approx(1, abs=0.001)
                assert probabilities[face["expression"]["label"]] == max(probabilities.values())


def reject(constant: str) -> NoReturn:
    """Fail on NaN and Infinity, which Python's JSON parser accepts."""
    raise AssertionError(f"{constant} in a message")


def parse_strictly(body: bytes) -> dict[str, Any]:
    """Parse JSON by the standard: without NaN, Infinity or duplicate names."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(pairs) == len(dict(pairs))
        return dict(pairs)

    parsed: dict[str, Any] = json.loads(body, parse_constant=reject, object_pairs_hook=unique)
    return parsed


@pytest.fixture(scope="module")
def default() -> CheckedPipeline:
    """A pipeline with the default configuration."""
    return CheckedPipeline(Config())


@pytest.fixture(scope="module")
def sensitive() -> CheckedPipeline:
    """A pipeline with limits that accept the lowest scores and the worst quality."""
    return CheckedPipeline(
        Config.model_validate(
            {
                "detector": {"threshold": 0.02, "nms_iou": 1.0},
                "tracking": {"appear_s": 0.0, "appear_score": 0.0, "iou_min": 0.0},
                "quality": {
                    "size_min_px": 1.0,
                    "sharpness_min": 0.0,
                    "brightness_min": 0.0,
                    "brightness_max": 1.0,
                    "saturated_max": 1.0,
                    "yaw_max_deg": 90.0,
                },
            }
        )
    )


def checkerboard(shape: Sized, cell: int) -> Luma:
    """Return a checkerboard with squares of ``cell`` pixels."""
    rows, columns = np.indices(shape) // cell
    return np.where((rows + columns) % 2, 255, 0).astype(np.uint8)


def gradient(shape: Sized, axis: int) -> Luma:
    """Return a ramp from black to white."""
    ramp = np.linspace(0, 255, shape[axis]).astype(np.uint8)
    return np.broadcast_to(ramp[:, None] if axis == 0 else ramp, shape)


def faces(shape: Sized) -> Luma:
    """Return the golden face picture as tiles, cut off at the border."""
    picture = golden_picture()[0]
    down, across = -(-shape[0] // picture.shape[0]), -(-shape[1] // picture.shape[1])
    return np.tile(picture, (down, across))[: shape[0], : shape[1]]


def pictures(shape: Sized) -> Iterator[Luma]:
    """Yield pictures of one size as faulty sensors, cables and decoders give them."""
    face = faces(shape)
    noise = RANDOM.integers(0, 256, shape, np.uint8)
    yield np.zeros(shape, np.uint8)
    yield np.full(shape, 255, np.uint8)
    yield np.full(shape, 128, np.uint8)
    yield noise
    yield np.where(RANDOM.random(shape) < 0.02, 255, face).astype(np.uint8)  # hot pixels
    yield checkerboard(shape, 1)
    yield checkerboard(shape, 8)
    yield gradient(shape, 0)
    yield gradient(shape, 1)
    yield face
    yield face[::-1, ::-1]
    yield 255 - face
    yield np.clip(face.astype(np.int16) * 8, 0, 255).astype(np.uint8)  # overexposed
    yield face // 32  # in the dark
    half = shape[0] // 2
    for missing in (0, 128, noise[half:]):  # torn: the lower half is missing
        torn = face.copy()
        torn[half:] = missing
        yield torn
    yield np.roll(face, shape[1] // 2, axis=1)
    yield np.repeat(face[:, : shape[1] // 2 + 1], 2, axis=1)[:, : shape[1]]  # stretched


@pytest.mark.parametrize("shape", [*TINY, *EXTREME, *COMMON], ids=lambda shape: f"{shape}")
def test_every_kind_of_picture_gives_a_valid_message(
    default: CheckedPipeline, shape: Sized
) -> None:
    for picture in pictures(shape):
        default.step(picture)


@pytest.mark.parametrize("shape", LARGE, ids=lambda shape: f"{shape}")
def test_large_pictures_give_valid_messages(default: CheckedPipeline, shape: Sized) -> None:
    for picture in (faces(shape), RANDOM.integers(0, 256, shape, np.uint8), checkerboard(shape, 2)):
        default.step(picture)


def test_the_pictures_contained_faces(default: CheckedPipeline) -> None:
    for _ in range(3):
        assert len(default.step(faces((240, 400))).faces) >= 1
    # run alone, this test has its own three frames only
    assert default.frames >= 300 or default.frames == 3
    assert default.classified > 0


def test_detections_of_lowest_score_give_valid_messages(sensitive: CheckedPipeline) -> None:
    for shape in ((1, 1), (5, 700), (48, 64), (240, 400)):
        for picture in list(pictures(shape))[::2]:
            sensitive.step(picture)
    assert sensitive.faces > 100
    assert sensitive.classified > 50


@settings(max_examples=60, derandomize=True)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    low=st.integers(0, 255),
    span=st.integers(0, 255),
    gap_ns=st.integers(1, 5_000_000_000),
)
def test_random_pictures_at_random_times_give_valid_messages(
    sensitive: CheckedPipeline,
    *,
    height: int,
    width: int,
    seed: int,
    low: int,
    span: int,
    gap_ns: int,
) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(low, min(255, low + span), (height, width), np.uint8, endpoint=True)
    top, left = random.integers(0, height), random.integers(0, width)
    patch = faces((height - int(top), width - int(left)))
    picture[top:, left:] = patch
    sensitive.step(picture, gap_ns)
