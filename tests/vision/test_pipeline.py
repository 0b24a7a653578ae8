"""The pipeline: bounded number of faces, failures of single faces, isolated pictures."""

from dataclasses import replace

import numpy as np
import pytest

from edge.clock import Stopwatch
from edge.config import Config, DeviceConfig, ImagesSource, MeshConfig, QualityConfig
from edge.errors import InferenceError
from edge.protocol.lid_events import Blink
from edge.vision.pipeline import MAX_FACES, Pipeline
from edge.vision.quality import INFERENCE_FAILED, TURNED_AWAY
from edge.vision.values import Affect, Box, Detection, Frame, Luma, Mesh, Prediction
from edge.vocabulary import EXPRESSIONS

RNG = np.random.default_rng(3)
LUMA = RNG.integers(60, 200, (400, 1600), np.uint8)


def face(x: float, score: float = 0.9) -> Detection:
    landmarks = np.array([[9, 12], [21, 12], [15, 18], [10, 25], [20, 25]], np.float32)
    return Detection(Box(x, 50, 30, 36), landmarks + np.float32([x, 50]), score)


class FixedDetector:
    """A detector that finds the given faces, highest score first."""

    info = golden = None
    input_size = (320, 192)

    def __init__(self, *faces: Detection) -> None:
        self.faces = tuple(sorted(faces, key=lambda face: -face.score))

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        stopwatch.lap("detect")
        return self.faces


class FixedExpression:
    """An expression network that predicts contempt, or fails on faces left of ``fails_before``."""

    info = golden = None
    takes_coefficients = False

    def __init__(self, fails_before: float = -1.0) -> None:
        self.fails_before = fails_before

    def predict(
        self, frame: Frame, box: Box, stopwatch: Stopwatch, translator: object
    ) -> Prediction:
        if box.x < self.fails_before:
            raise InferenceError("not finite")
        return Prediction(np.eye(8, dtype=np.float32)[7], Affect(-0.5, 0.4))


def pipeline(
    detector: FixedDetector, expression: FixedExpression, config: Config | None = None
) -> Pipeline:
    return Pipeline(detector, expression, config or Config())  # type: ignore[arg-type]


def frame(index: int = 0, sensor_ns: int = 0) -> Frame:
    return Frame(LUMA, index=index, sensor_ns=sensor_ns, clock="media", captured_ns=0)


def test_failure_on_one_face_is_reported_and_does_not_affect_others() -> None:
    state = pipeline(FixedDetector(face(100), face(300)), FixedExpression(fails_before=200)).step(
        frame()
    )
    failed, classified = state.faces
    assert failed.prediction is None
    assert failed.smoothed is None
    assert not failed.quality.usable
    assert failed.quality.reasons == (INFERENCE_FAILED,)
    assert classified.smoothed is not None
    assert classified.smoothed.stable_label == EXPRESSIONS[7]
    assert {"detect", "track", "quality", "smooth"} <= set(state.stage_ms)


def test_unusable_face_is_not_classified() -> None:
    flat = Frame(np.full((400, 400), 3, np.uint8), 0, 0, "media", 0)
    state = pipeline(FixedDetector(face(100)), FixedExpression()).step(flat)
    assert state.faces[0].prediction is None
    assert "too_dark" in state.faces[0].quality.reasons


def test_number_of_faces_is_bounded_and_the_highest_scores_are_kept() -> None:
    faces = [face(20 * n, score=0.6 + n / 1000) for n in range(70)]
    runner = pipeline(FixedDetector(*faces), FixedExpression())
    tracked = runner.detect(frame())
    assert tracked.left_out == 70 - MAX_FACES
    state = runner.classify(tracked)
    assert len(state.faces) == MAX_FACES
    assert min(each.track.detection.score for each in state.faces) == pytest.approx(0.622)


@pytest.mark.parametrize(("rate_hz", "shown"), [(0.5, 1), (30.0, 0)])
def test_weak_faces_in_isolated_pictures_appear_at_once(rate_hz: float, shown: int) -> None:
    config = Config(
        device=DeviceConfig(purpose="safety"),
        source=ImagesSource(kind="images", path="x", rate_hz=rate_hz),
    )
    runner = pipeline(FixedDetector(face(100, score=0.52)), FixedExpression(), config)
    assert len(runner.step(frame()).faces) == shown
    assert len(runner.step(frame(1, round(1e9 / rate_hz))).faces) == shown


class FixedMesh:
    """A mesh network that measures every face, or fails on faces left of ``fails_before``."""

    info = golden = None

    def __init__(self, fails_before: float = -1.0) -> None:
        self.fails_before = fails_before
        self.measured: list[float] = []

    def measure(self, luma: Luma, detection: Detection, stopwatch: Stopwatch) -> Mesh | None:
        self.measured.append(detection.box.x)
        stopwatch.lap("mesh")
        if detection.box.x < self.fails_before:
            raise InferenceError("not finite")
        values = np.zeros(52, np.float32), np.zeros((478, 3), np.float32)
        return Mesh(detection.box.x, 0.0, 0.0, 1.0, 1.0, 0.0, *values)


def with_mesh(mesh: FixedMesh, *faces: Detection, **options: int | float) -> Pipeline:
    config = Config(mesh=MeshConfig(enabled=True, **options))  # type: ignore[arg-type]
    detector, expression = FixedDetector(*faces), FixedExpression()
    return Pipeline(detector, expression, config, mesh=mesh)  # type: ignore[arg-type]


def test_faces_are_measured_in_turns_and_null_between() -> None:
    chosen = with_mesh(FixedMesh(), face(10), face(200), face(400), faces_per_frame=2)
    states = [chosen.step(frame(i, i * 40_000_000)) for i in range(3)]
    found = [[each.mesh is not None for each in state.faces] for state in states]
    assert found == [
        [True, True, False],
        [True, False, True],
        [False, True, True],
    ]


def test_a_mesh_belongs_to_its_face_and_a_failure_costs_that_one_alone() -> None:
    chosen = with_mesh(FixedMesh(fails_before=100), face(10), face(200), face(400))
    state = chosen.step(frame())
    found = {each.track.detection.box.x: each.mesh for each in state.faces}
    assert found[10] is None
    assert all(found[x].yaw_deg == x for x in (200, 400))  # type: ignore[union-attr]
    assert all(each.prediction is not None for each in state.faces)
    assert state.stage_ms["mesh"] > 0


class HeadedExpression(FixedExpression):
    """An expression network with a head for coefficients, which predicts happiness."""

    takes_coefficients = True

    def with_mesh(self, prediction: Prediction, coefficients: np.ndarray) -> Prediction:
        assert coefficients.shape == (52,)
        happy = np.eye(8, dtype=np.float32)[1]
        return replace(prediction, probabilities=happy, head="mesh")


def test_a_face_is_predicted_with_its_mesh_and_keeps_its_head_between_measurements() -> None:
    config = Config(mesh=MeshConfig(enabled=True, faces_per_frame=1))
    detector, expression = FixedDetector(face(10), face(200)), HeadedExpression()
    chosen = Pipeline(detector, expression, config, mesh=FixedMesh())  # type: ignore[arg-type]
    heads: dict[int, list[str]] = {1: [], 2: []}
    for index in range(100):
        state = chosen.step(frame(index, index * 40_000_000))
        for each in state.faces:
            assert each.prediction is not None
            assert each.smoothed is not None
            assert (each.prediction.probabilities[1] == 1) == (each.prediction.head == "mesh")
            heads[each.track.id].append(each.prediction.head)
    # the first one was measured in its first frame; the other one in the next, and had to wait
    assert set(heads[1]) == {"mesh"}
    assert heads[2] == ["network"] * 76 + ["mesh"] * 24
    assert state.faces[1].smoothed is not None
    assert state.faces[1].smoothed.stable_label == "happy"


def test_where_frames_can_be_lost_only_time_that_is_left_is_used() -> None:
    mesh = FixedMesh()
    chosen = with_mesh(mesh, face(10), face(200))
    for index, step_ns in enumerate((40_000_000, 40_000_000, 1_000)):
        tracks = chosen.detect(frame(index, index * 40_000_000 + (index == 2) * step_ns))
        chosen.classify(tracks, keeps_rate=True)
    assert len(mesh.measured) == 4  # none in the first frame, when the rate is not known
    tracks = chosen.detect(frame(3, 80_002_000))  # 1 us after the frame before: no time at all
    assert all(each.mesh is None for each in chosen.classify(tracks, keeps_rate=True).faces)
    assert all(each.mesh is not None for each in chosen.classify(tracks).faces)


def test_a_face_that_is_turned_away_has_its_pose_and_one_that_is_too_small_has_not() -> None:
    def reasons_and_mesh(**limits: float) -> tuple[tuple[str, ...], bool]:
        config = Config(
            mesh=MeshConfig(enabled=True),
            quality=QualityConfig(**{"yaw_max_deg": 1.0, "sharpness_min": 0.0, **limits}),
        )
        detection = face(10)
        detection.landmarks[2] += (9, 0)  # the nose far from the middle
        detector, expression = FixedDetector(detection), FixedExpression()
        chosen = Pipeline(detector, expression, config, mesh=FixedMesh())  # type: ignore[arg-type]
        (found,) = chosen.step(frame()).faces
        return found.quality.reasons, found.mesh is not None

    assert reasons_and_mesh() == ((TURNED_AWAY,), True)
    reasons, is_measured = reasons_and_mesh(size_min_px=100.0)
    assert len(reasons) == 2
    assert not is_measured


def test_the_eyes_of_each_track_are_followed_and_their_events_are_of_the_frame() -> None:
    class Blinking(FixedMesh):
        def measure(self, luma: Luma, detection: Detection, stopwatch: Stopwatch) -> Mesh | None:
            mesh = super().measure(luma, detection, stopwatch)
            assert mesh is not None
            closed = detection.box.x > 100 and 10 <= (len(self.measured) - 1) // 2 < 14
            return replace(mesh, left_eye=0.0, right_eye=0.0) if closed else mesh

    chosen = with_mesh(Blinking(), face(10), face(200))
    states = [chosen.step(frame(i, i * 40_000_000)) for i in range(30)]
    found = [(index, event) for index, state in enumerate(states) for event in state.events]
    ((index, blink),) = found
    assert index == 14
    (track,) = [each.track.id for each in states[0].faces if each.track.detection.box.x > 100]
    assert blink == Blink(track=track, duration_ms=160, sensor_ns=400_000_000)
    assert all(each.lids is not None for each in states[-1].faces)
