"""The pipeline with a translator: crop, generator, expression network."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge.clock import Stopwatch
from edge.config import Config, ExpressionConfig, TranslatorConfig
from edge.errors import InferenceError
from edge.vision.expression import open_expression
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_findings, golden_frame, golden_picture
from edge.vision.inference import Network, find_model
from edge.vision.pipeline import Pipeline
from edge.vision.quality import INFERENCE_FAILED
from edge.vision.resize import resize_area
from edge.vision.values import Box, Luma
from tests.support.generators import translator_folder

FACE = Box(155.4, 38.9, 86.4, 151.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generator's model folder; no test changes it."""
    return translator_folder(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    """The default networks with the generator between them."""
    return Pipeline.open(Config(translator=TranslatorConfig(model=str(folder))))


class RecordingTranslator:
    """A translator that records the faces that it receives and returns a fixed picture."""

    golden = None

    def __init__(self, info: Any, picture: Luma) -> None:
        self.info, self.picture = info, picture
        self.received: list[Luma] = []

    def translate(self, face: Luma) -> Luma:
        self.received.append(face)
        return self.picture


def test_translator_receives_the_crop_and_the_network_the_translation(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crop has the network's margin and the generator's size; the network gets its own size."""
    assert pipeline.translator is not None
    picture, _ = golden_picture()
    made = np.random.default_rng(2).integers(0, 256, (64, 64), np.uint8)
    translator = RecordingTranslator(pipeline.translator.info, made)
    inputs: list[Luma] = []
    right = Network.run

    def run(self: Network, batch: Luma) -> dict[str, Any]:
        inputs.append(batch[0])
        return right(self, batch)

    network = open_expression(ExpressionConfig())
    monkeypatch.setattr(Network, "run", run)
    stopwatch = Stopwatch()
    network.predict(golden_frame(picture), FACE, stopwatch, translator)
    np.testing.assert_array_equal(
        translator.received[0], square_crop(picture, FACE, (64, 64), 0.05)
    )
    np.testing.assert_array_equal(inputs[0], resize_area(made, (48, 48)))
    assert list(stopwatch.stage_ms) == ["crop", "translate", "classify"]


def test_without_translator_the_crop_is_classified() -> None:
    network = open_expression(ExpressionConfig())
    stopwatch = Stopwatch()
    network.predict(golden_frame(golden_picture()[0]), FACE, stopwatch)
    assert list(stopwatch.stage_ms) == ["crop", "classify"]
    assert Pipeline.open(Config()).translator is None


def test_pipeline_predicts_the_translated_face(pipeline: Pipeline) -> None:
    frame = golden_frame(golden_picture()[0])
    (face,) = _tracked_faces(pipeline)
    assert face.prediction is not None
    direct = open_expression(ExpressionConfig())
    box = face.track.detection.box
    through = direct.predict(frame, box, Stopwatch(), pipeline.translator)
    straight = direct.predict(frame, box, Stopwatch())
    np.testing.assert_array_equal(face.prediction.probabilities, through.probabilities)
    assert np.abs(through.probabilities - straight.probabilities).max() > 0.01


def test_translation_time_is_reported_separately(pipeline: Pipeline) -> None:
    stage_ms = pipeline.step(golden_frame(golden_picture()[0])).stage_ms
    assert stage_ms["translate"] > 0
    assert {"crop", "classify"} <= set(stage_ms)


def test_failing_translator_leaves_the_face_without_prediction_and_gives_the_reason(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_face: Luma) -> Luma:
        raise InferenceError("translator: output picture is not finite")

    monkeypatch.setattr(pipeline.translator, "translate", fails)
    (face,) = _tracked_faces(pipeline)
    assert face.prediction is None
    assert face.smoothed is None
    assert face.quality.reasons == (INFERENCE_FAILED,)


def test_all_three_networks_pass_the_golden_face(pipeline: Pipeline, folder: Path) -> None:
    findings = golden_findings(pipeline.detector, pipeline.expression, pipeline.translator)
    assert findings == []


def test_colour_network_gets_three_equal_channels(tmp_path: Path, pipeline: Pipeline) -> None:
    """The bundled network with an RGB input, each weight divided by three, predicts the same."""
    rgb = shutil.copytree(find_model("expression-nir"), tmp_path / "rgb")
    file = rgb / "expression.onnx"
    model = onnx.load(file)
    (first,) = [node for node in model.graph.node if "input" in node.input]
    for weight in model.graph.initializer:
        if weight.name == first.input[1]:
            values = np.repeat(numpy_helper.to_array(weight) / 3, 3, axis=1)
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    del model.graph.value_info[:]
    content = model.SerializeToString()
    file.write_bytes(content)
    _rewrite(rgb, content)
    frame = golden_frame(golden_picture()[0])
    colour, mono = (
        open_expression(ExpressionConfig(model=name, artifact="expression.onnx")).predict(
            frame, FACE, Stopwatch(), pipeline.translator
        )
        for name in (str(rgb), "expression-nir")
    )
    np.testing.assert_allclose(colour.probabilities, mono.probabilities, atol=1e-4)


def _rewrite(folder: Path, content: bytes) -> None:
    """Update the manifest of a changed ONNX artifact; remove the other artifacts from it."""
    import hashlib

    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    (artifact,) = [each for each in data["artifacts"] if each["file"] == "expression.onnx"]
    artifact.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    data["artifacts"] = [artifact]
    data["parity"] = {"expression.onnx": data["parity"]["expression.onnx"]}
    data["input"].update(shape=[1, 3, 48, 48], colour="rgb")
    path.write_text(json.dumps(data))


def _tracked_faces(pipeline: Pipeline) -> Any:
    """Return the faces of the golden picture after enough frames to be tracked."""
    from dataclasses import replace

    frame = golden_frame(golden_picture()[0])
    for step in range(4):
        later = replace(frame, sensor_ns=frame.sensor_ns + step * 100_000_000)
        faces = pipeline.step(later).faces
    return faces
