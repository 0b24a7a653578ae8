"""int8 and TensorFlow Lite artifacts of expression networks."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edge.vision.expression.heads import ExpressionHeads
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import load_manifest, open_network
from exporters.artifacts.driver import ExportOptions
from exporters.artifacts.parity import parity_table, sample_pictures
from exporters.expression.export import export_expression
from tests.support.expression_networks import OURS, exported, thesis_input
from tests.support.keras2_files import mobilenet_fer, predict, random_arrays, write


@pytest.fixture(scope="module")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of parts of the golden picture, with and without the face, varied in light.

    The face is happy in all of them, and agreement on a constant label cannot be measured.
    """
    folder = tmp_path_factory.mktemp("faces")
    face, _ = golden_picture()
    random = np.random.default_rng(31)
    for number in range(60):
        side = int(random.integers(70, 220))
        left = int(random.integers(0, face.shape[1] - side))
        top = int(random.integers(0, face.shape[0] - side))
        values = face[top : top + side, left : left + side].astype(np.float32)
        values = values * random.uniform(0.5, 1.3) + random.uniform(-20, 30)
        values += random.normal(0, random.uniform(1, 12), values.shape)
        made = np.clip(values, 0, 255).astype(np.uint8)
        made = cv2.resize(made, (160, 160), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{number}.png"), made[:, ::-1] if number % 2 else made)
    return folder


def check_agreement(manifest: Any, folder: Path, files: set[str], least: float) -> None:
    """Assert that every artifact agrees by ``least`` and its verdict follows from its limits."""
    assert {artifact.file for artifact in manifest.artifacts} == files
    assert manifest.calibration is not None
    for file, parity in manifest.parity.items():
        for figure in ("concordance", "valence_ccc", "arousal_ccc"):
            assert parity.metrics[figure] >= least, (file, parity.metrics)
        kept = all(limit.allows(parity.metrics[name]) for name, limit in parity.limits.items())
        assert parity.passed is kept
    int8 = manifest.parity["expression.int8.onnx"]
    assert {name: limit.at_least for name, limit in int8.limits.items()} == {
        "concordance": 0.98, "valence_ccc": 0.99, "arousal_ccc": 0.99,
    }  # fmt: skip
    assert load_manifest(folder) == manifest


def test_int8_of_the_bundled_network_agrees_and_is_deterministic(
    tmp_path: Path, face_folder: Path
) -> None:
    one, two = (
        export_expression(
            OURS, tmp_path / name / "net", options=ExportOptions(
                precisions=("fp32", "int8"), calibration=face_folder, allow_parity_loss=True
            ),
        )
        for name in ("one", "two")
    )  # fmt: skip
    assert one == two
    for file in ("expression.int8.onnx", "manifest.json"):
        graph = [(tmp_path / name / "net" / file).read_bytes() for name in ("one", "two")]
        assert graph[0] == graph[1]
    files = {"expression.onnx", "expression.int8.onnx"}
    check_agreement(one, tmp_path / "one" / "net", files, least=0.9)
    # heads stay float: int8 would clip faces that differ more than the calibration pictures
    graph = onnx.load(tmp_path / "one" / "net" / "expression.int8.onnx").graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    assert makers["logits"] == makers["affect"] == "Gemm"
    assert len(str(one.exporter.options["float_nodes"]).split()) >= 5
    lines = parity_table(one).splitlines()
    assert any("arousal_ccc" in line and "(at least 0.99" in line for line in lines)
    assert any("kappa" in line and "(" not in line for line in lines)  # measured, not limited
    assert any("expression_max_error" in line and "(at most 0.0001)" in line for line in lines)


@pytest.mark.nir
def test_int8_meets_its_limits_on_nir_photographs(tmp_path: Path, nir_faces: Path) -> None:
    out = tmp_path / "net"
    manifest = export_expression(
        OURS,
        out,
        options=ExportOptions(precisions=("fp32", "int8"), calibration=nir_faces / "images"),
    )
    check_agreement(manifest, out, {"expression.onnx", "expression.int8.onnx"}, least=0.98)
    for artifact in manifest.artifacts:
        network = open_network(out, task="facial-expression", artifact=artifact.file)
        assert expression_findings(ExpressionHeads(network)) == []


@pytest.mark.export
@pytest.mark.timeout(600)  # onnx2tf takes minutes on a busy board
def test_tensorflow_lite_of_the_bundled_network_agrees(tmp_path: Path, face_folder: Path) -> None:
    manifest = export_expression(
        OURS, tmp_path / "net", options=ExportOptions(
            formats=("onnx", "tflite"), precisions=("fp32", "int8"), calibration=face_folder,
            allow_parity_loss=True,
        ),
    )  # fmt: skip
    names = ("onnx", "int8.onnx", "tflite", "int8.tflite")
    check_agreement(manifest, tmp_path / "net", {f"expression.{name}" for name in names}, least=0.9)
    assert manifest.parity["expression.tflite"].passed


@pytest.mark.export
@pytest.mark.timeout(600)  # onnx2tf takes minutes on a busy board
def test_tensorflow_lite_of_a_keras_network_gives_the_outputs_of_keras(tmp_path: Path) -> None:
    architecture = mobilenet_fer(64, 0.25)
    arrays = random_arrays(architecture, 12, (64, 64, 3))
    weights = write(tmp_path / "net.h5", architecture, arrays)
    export_expression(
        weights, tmp_path / "net", options=ExportOptions(formats=("tflite",)), mono=True
    )
    network = exported(tmp_path)
    assert network.info.runtime == "litert"
    for picture in sample_pictures(64, 64)[:4]:
        expected = predict(architecture, arrays, thesis_input(picture, 3, "nhwc")[0])
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"][0], expected[0], atol=1e-4)
        np.testing.assert_allclose(heads["affect"][0], expected[1], atol=1e-4)
