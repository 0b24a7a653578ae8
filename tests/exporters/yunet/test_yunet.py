"""Export of YuNet: detections as OpenCV's, and graphs that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.evaluation.pictures import faces_in
from edge.config import DetectorConfig
from edge.vision.detect import open_detector
from edge.vision.detect.yunet import decode, places_of, roles
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, load_manifest
from edge.vision.resize import resize_linear
from edge.vision.values import Luma
from exporters.cli import main
from exporters.yunet.export import export_yunet, float_nodes
from tests.support.command_errors import refusal_without_files
from tests.support.detector_weights import yunet_folder, yunet_graph


def several_faces(width: int, height: int) -> Luma:
    face, _ = golden_picture()
    picture = np.full((height, width), 40, np.uint8)
    small = resize_linear(face, (width // 2, height // 2))
    picture[: height // 2, : width // 2] = small
    picture[height // 2 : height // 2 * 2, width // 2 : width // 2 * 2] = small
    return picture


@pytest.mark.parametrize("size", [(320, 192), (640, 384)])
@pytest.mark.parametrize("mono", [True, False])
def test_detections_equal_those_of_opencv(
    tmp_path: Path, size: tuple[int, int], mono: bool
) -> None:
    out = tmp_path / "net"
    manifest = export_yunet(yunet_graph(), out, size=size, mono=mono)
    assert manifest.source.licence.startswith("MIT")
    detector = open_detector(DetectorConfig(model=str(out), threshold=0.3, nms_iou=0.3))
    opencv = cv2.FaceDetectorYN.create(str(yunet_graph()), "", size, 0.3, 0.3, 5000)
    face, _ = golden_picture()
    for picture, count in ((resize_linear(face, size), 1), (several_faces(*size), 2)):
        _, rows = opencv.detect(np.repeat(picture[..., None], 3, axis=2))
        known = sorted(rows, key=lambda row: -row[14])
        found = faces_in(detector, picture)
        assert len(found) == len(known) == count
        for one, row in zip(found, known, strict=True):
            box = (one.box.x, one.box.y, one.box.width, one.box.height)
            np.testing.assert_allclose(box, row[:4], atol=0.02)
            np.testing.assert_allclose(one.landmarks.ravel(), row[4:14], atol=0.02)
            assert one.score == pytest.approx(float(row[14]), abs=1e-4)


def test_any_outputs_give_finite_faces() -> None:
    places = places_of((64, 32))
    assert len(places) == 8 * 4 + 4 * 2 + 2 * 1
    for value in (0.0, 1.0, 1e30, -1e30):
        outputs = {
            role: np.full((1, int((places[:, 2] == int(role.rpartition("_")[2])).sum()), count),
                          value, np.float32)
            for role, count in roles().items()
        }  # fmt: skip
        found = decode(outputs, places, threshold=0.5, nms_iou=0.3, ratio_x=2.0, ratio_y=3.0)
        assert bool(found) == (value > 0)
        for face in found:
            box = (face.box.x, face.box.y, face.box.width, face.box.height)
            assert np.isfinite([*box, *face.landmarks.ravel()]).all()
            assert 0.5 < face.score <= 1


def test_first_nodes_and_heads_stay_float(tmp_path: Path) -> None:
    model = onnx.load(yunet_folder(tmp_path) / "yunet.onnx")
    nodes = {node.name: node for node in model.graph.node}
    kept = float_nodes(model)
    convolutions = {name for name, node in nodes.items() if node.op_type == "Conv"}
    assert len(convolutions - kept) > 25
    assert len(convolutions & kept) > 12  # one at the end of each head
    assert {name for name, node in nodes.items() if node.op_type == "Sigmoid"} <= kept


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function: weights and further options -> the error line of the export."""

    def refuse(weights: Path, *options: str) -> str:
        command = ["yunet", "--weights", str(weights), "--out", str(tmp_path / "new" / "net")]
        return refusal_without_files(main, [*command, *options], capfd, tmp_path)

    return refuse


def graph_of(path: Path, *, channels: int = 3, kind: str = "Conv", names: Any = None) -> Path:
    """Write a graph with YuNet's outputs that computes nothing."""
    outputs = [*roles()] if names is None else names
    weight = numpy_helper.from_array(np.zeros((1, channels, 1, 1), np.float32), "w")
    nodes = [helper.make_node(kind, ["x", "w"], [outputs[0]])]
    nodes += [helper.make_node("Identity", [outputs[0]], [each]) for each in outputs[1:]]
    values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, channels, 32, 32))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], values, [weight]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path.write_bytes(model.SerializeToString())
    return path


def test_other_graphs_and_files_are_refused_in_one_line(tmp_path: Path, refuse: Any) -> None:
    other = find_model("centerface-320x192") / "centerface.onnx"
    line = refuse(other)
    assert "expected a YuNet graph of 2023 of one input and twelve outputs" in line
    assert "gives 537, 538, 539, 540" in line
    assert "No such file" in refuse(tmp_path / "none.onnx")
    (tmp_path / "page.onnx").write_bytes(b"<html>")
    assert "a web page" in refuse(tmp_path / "page.onnx")
    assert "takes 1 channels, expected 3" in refuse(graph_of(tmp_path / "mono.onnx", channels=1))
    assert "x goes into Mul; expected one convolution" in refuse(
        graph_of(tmp_path / "mul.onnx", kind="Mul")
    )
    assert "cannot run at 320x192" in refuse(graph_of(tmp_path / "empty.onnx"))
    assert "--size 330x192: expected multiples of 32" in refuse(other, "--size", "330x192")


def test_an_int8_graph_is_refused(tmp_path: Path, refuse: Any) -> None:
    model = onnx.load(graph_of(tmp_path / "net.onnx"))
    model.graph.node[0].op_type = "QuantizeLinear"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert "int8 already; expected the float graph" in refuse(tmp_path / "net.onnx")


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        out = yunet_folder(folder)
        made.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
        assert load_manifest(out).decoder == "yunet"
    assert made[0] == made[1]
