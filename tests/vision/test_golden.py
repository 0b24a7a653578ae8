"""The golden face detects faults that raise no error; each test injects one."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge.clock import Stopwatch
from edge.config import DetectorConfig, ExpressionConfig
from edge.errors import ModelError
from edge.vision import golden
from edge.vision.detect import Detector, open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.golden import (
    detection_findings,
    expression_findings,
    golden_findings,
    golden_picture,
)
from edge.vision.inference import Finding, Network, find_model
from edge.vision.values import Detection, Frame
from edge.vocabulary import EXPRESSIONS
from tests.support.model_folders import Change, changed_copy


def changed(tmp_path: Path, model: str, change: Change) -> str:
    """Copy a bundled model with a changed manifest; return its path."""
    target = tmp_path / model
    shutil.rmtree(target, ignore_errors=True)
    return str(changed_copy(find_model(model), target, change))


def with_weights(tmp_path: Path, model: str, change: Callable[[str, Any], Any]) -> str:
    """Copy a bundled model with changed weights and matching hashes; return its path."""
    folder = shutil.copytree(find_model(model), tmp_path / model, dirs_exist_ok=True)
    file = folder / FLOAT[model]
    graph = onnx.load(file)
    for weight in graph.graph.initializer:
        values = numpy_helper.to_array(weight)
        made = change(weight.name, values)
        if made is not values:
            weight.CopyFrom(numpy_helper.from_array(made.astype(values.dtype), weight.name))
    content = graph.SerializeToString()
    file.write_bytes(content)

    def rehash(data: dict[str, Any]) -> None:
        data["artifacts"][0].update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    return changed_in_place(folder, rehash)


def changed_in_place(folder: Path, change: Change) -> str:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return str(folder)


ARTIFACTS = ("centerface.onnx", "centerface.int8.onnx", "centerface.tflite",
             "centerface.int8.tflite")  # fmt: skip
FLOAT = {
    "centerface-320x192": "centerface.onnx",
    "centerface-640x384": "centerface.onnx",
    "centerface-96x96": "centerface.onnx",
    "expression-nir": "expression.onnx",
    "retinaface-320x192": "retinaface.onnx",
}


def detection_findings_of(model: str, artifact: str = "centerface.onnx") -> list[Finding]:
    return detection_findings(open_detector(DetectorConfig(model=model, artifact=artifact)))


def expression_findings_of(model: str) -> list[Finding]:
    config = ExpressionConfig(model=model, artifact="expression.onnx")
    return expression_findings(open_expression(config))


@pytest.mark.parametrize("model", ["centerface-320x192", "centerface-640x384"])
@pytest.mark.parametrize("threshold", [0.05, 0.35, 0.5, 0.85])
def test_bundled_models_pass(model: str, threshold: float) -> None:
    expression = open_expression(ExpressionConfig())
    for artifact in ARTIFACTS:
        config = DetectorConfig(model=model, threshold=threshold, artifact=artifact)
        assert golden_findings(open_detector(config), expression) == [], artifact


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.85])
@pytest.mark.parametrize("artifact", ["centerface.onnx", "centerface.int8.tflite"])
def test_the_detector_of_regions_passes_and_is_named_if_not(
    artifact: str, threshold: float
) -> None:
    config = DetectorConfig(schedule="region", region_artifact=artifact, threshold=threshold)
    full, region = open_detector(config), open_detector(config.region)
    expression = open_expression(ExpressionConfig())
    assert golden_findings(full, expression, region_detector=region) == []
    swapped = golden_findings(full, expression, region_detector=PackedRows(region))
    assert {each.subject for each in swapped} == {"region_detector"}


class PackedRows:
    """A detector that receives packed RGB, three bytes per pixel, as if it were luma."""

    def __init__(self, inner: Detector) -> None:
        self.inner, self.info = inner, inner.info
        self.input_size, self.golden = inner.input_size, inner.golden

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        packed = np.repeat(frame.luma, 3, axis=1).ravel()[: frame.luma.size]
        wrong = Frame(packed.reshape(frame.luma.shape), 0, 0, "media", 0)
        return self.inner.detect(wrong, stopwatch)


def test_packed_colours_as_luma_are_detected() -> None:
    assert detection_findings(PackedRows(open_detector(DetectorConfig())))


def test_interleaved_channels_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An RGB network that receives interleaved channels instead of planes."""
    from exporters.centerface.export import export_centerface

    published = Path(__file__).parents[2] / "models" / "centerface-published" / "centerface.onnx"
    export_centerface(published, tmp_path / "rgb", size=(320, 192), mono=False)
    assert detection_findings_of(str(tmp_path / "rgb")) == []

    def interleaved(self: Network, picture: Any) -> Any:
        values = np.repeat(picture[:, :, None], 3, axis=2).astype(np.float32)
        return values.reshape(1, 3, *picture.shape)

    monkeypatch.setattr(Network, "tensor", interleaved)
    assert detection_findings_of(str(tmp_path / "rgb"))


@pytest.mark.parametrize("layout", ["transposed", "mirrored", "upside down"])
def test_flipped_picture_is_detected(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Network.tensor

    def wrong(self: Network, picture: Any) -> Any:
        if layout == "transposed":
            picture = picture.T.reshape(picture.shape)
        else:
            picture = picture[:, ::-1] if layout == "mirrored" else picture[::-1]
        return right(self, np.ascontiguousarray(picture))

    detector = open_detector(DetectorConfig())
    monkeypatch.setattr(Network, "tensor", wrong)
    assert detection_findings(detector)


@pytest.mark.parametrize(
    "input_",
    [
        {"value_range": [0, 1]},
        {"value_range": [-1, 1]},
        {"value_range": [-128, 127]},
        {"value_range": [0, 1], "normalisation": {"kind": "fixed", "mean": 0.45, "std": 0.22}},
        {"normalisation": {"kind": "per-sample", "divide": False}},
        {"normalisation": {"kind": "per-sample", "divide": True, "epsilon": 0.05}},
    ],
)
def test_wrong_normalisation_of_the_detector_is_detected(
    tmp_path: Path, input_: dict[str, Any]
) -> None:
    model = changed(tmp_path, "centerface-320x192", lambda data: data["input"].update(input_))
    for artifact in ARTIFACTS:
        assert detection_findings_of(model, artifact), artifact


@pytest.mark.parametrize(
    "input_",
    [
        {"normalisation": {"kind": "none"}},
        {"normalisation": {"kind": "none"}, "value_range": [0, 255]},
        {"normalisation": {"kind": "none"}, "value_range": [-1, 1]},
        {"normalisation": {"kind": "fixed", "mean": 0.508, "std": 0.255}},
        {"normalisation": {"kind": "per-sample", "divide": False}},
        {"normalisation": {"kind": "per-sample", "divide": False}, "value_range": [0, 2]},
        {"normalisation": {"kind": "per-sample", "divide": True, "epsilon": 0}},
        {"value_range": [0, 255]},
        {"crop": {"shape": "square", "margin": 0.3}},
    ],
)
def test_wrong_normalisation_of_the_expression_network_is_detected(
    tmp_path: Path, input_: dict[str, Any]
) -> None:
    assert expression_findings_of(
        changed(tmp_path, "expression-nir", lambda data: data["input"].update(input_))
    )


def test_detector_with_zero_weights_is_detected(tmp_path: Path) -> None:
    model = with_weights(tmp_path, "centerface-320x192", lambda name, values: values * 0)
    assert "no face found" in detection_findings_of(model)[0].problem


def test_expression_network_with_zero_weights_is_detected(tmp_path: Path) -> None:
    model = with_weights(
        tmp_path, "expression-nir", lambda name, values: values * 0 if values.ndim else values
    )
    assert "happy 0.0" in expression_findings_of(model)[0].problem


def pairs() -> Iterator[tuple[int, int]]:
    return itertools.combinations(range(8), 2)


def test_any_two_swapped_labels_are_detected(tmp_path: Path) -> None:
    for one, other in pairs():
        labels = list(EXPRESSIONS)
        labels[one], labels[other] = labels[other], labels[one]
        found = expression_findings_of(
            changed(
                tmp_path, "expression-nir", lambda data, names=labels: data.update(labels=names)
            )
        )
        assert found, labels
        assert EXPRESSIONS[one] in "".join(map(str, found))


def test_wrong_activation_or_recalibration_is_detected(tmp_path: Path) -> None:
    def turned(data: dict[str, Any]) -> None:
        points = data["recalibration"]["points"]
        data["recalibration"]["points"] = [[arousal, valence] for valence, arousal in points]

    def swapped(data: dict[str, Any]) -> None:
        rows = data["heads"][0]["weights"]
        rows[1], rows[6] = rows[6], rows[1]

    for change in (
        lambda data: data["outputs"]["expression"].update(activation="sigmoid"),
        lambda data: data.update(recalibration=None, heads=None),
        lambda data: data.update(heads=None),
        swapped,
        lambda data: data["recalibration"].update(temperature=1.0),
        lambda data: data["recalibration"].update(offsets=[0.0] * 8),
        turned,
    ):
        model = changed(tmp_path, "expression-nir", change)
        assert expression_findings_of(model)
        shutil.rmtree(model)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("centerface-320x192", "542"),
        ("centerface-320x192", "head.pos_conv.weight"),
        ("centerface-320x192", "head.reg_conv.weight"),
        ("centerface-320x192", "head.lm_conv.weight"),
        ("expression-nir", "stem.weight"),
        ("expression-nir", "logits.weight"),
    ],
)
def test_one_flipped_bit_in_an_important_weight_is_detected(
    tmp_path: Path, model: str, name: str
) -> None:
    """In first convolutions and heads: with a matching hash, only the outputs reveal it."""
    flipped = []

    def flip(each: str, values: Any) -> Any:
        if each != name:
            return values
        flipped.append(each)
        bits = values.copy().view(np.uint32)
        bits.reshape(-1)[np.abs(values).argmax()] ^= 1 << 30  # the top bit of the exponent
        return bits.view(np.float32)

    damaged = with_weights(tmp_path, model, flip)
    assert flipped == [name]
    check = detection_findings_of if model.startswith("centerface") else expression_findings_of
    try:
        assert check(damaged)
    except ModelError as error:
        assert "not finite" in str(error)  # noqa: PT017 (detected earlier, at opening)


def test_threshold_above_the_score_is_named_in_the_finding() -> None:
    (finding,) = detection_findings(open_detector(DetectorConfig(threshold=0.99)))
    assert "threshold" in finding.problem


class DuplicatingDetector(PackedRows):
    """A detector that returns each face twice."""

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        return self.inner.detect(frame, stopwatch) * 2


def test_extra_face_is_detected() -> None:
    found = detection_findings(DuplicatingDetector(open_detector(DetectorConfig())))
    assert [str(each) for each in found] == ["detector: golden face: 2 faces found, expected 1"]


def test_another_picture_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = golden_picture()
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), np.maximum(picture, 1))
    detector: Detector = open_detector(DetectorConfig())
    network: ExpressionNetwork = open_expression(ExpressionConfig())
    monkeypatch.setattr(golden, "GOLDEN_FACE", other)
    findings = golden_findings(detector, network)
    assert len(findings) == 2
    assert all("export the model again" in each.problem for each in findings)
    for content in (None, b"", b"no picture"):
        if content is None:
            other.unlink()
        else:
            other.write_bytes(content)
        with pytest.raises(ModelError, match="install affect-edge again"):
            golden_findings(detector, network)


def test_findings_are_single_lines() -> None:
    for finding in detection_findings(PackedRows(open_detector(DetectorConfig()))):
        assert "\n" not in str(finding)
        assert str(finding).startswith("detector: golden face: ")
