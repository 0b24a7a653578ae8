"""MTCNN's outputs and detections against the code of facenet-pytorch, run unchanged."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation.pictures import faces_in
from edge.config import DetectorConfig
from edge.vision.detect import open_detector
from edge.vision.detect.mtcnn import STAGES, scales_of
from edge.vision.golden import golden_picture
from edge.vision.inference import open_network
from edge.vision.resize import resize_linear
from exporters.artifacts.parity import sample_pictures
from exporters.mtcnn.export import export_mtcnn
from tests.support.detector_weights import package

pytestmark = pytest.mark.export

SIZE = (320, 192)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``mtcnn`` of the package, with what it takes from torchvision and Pillow."""
    import torch

    def batched_nms(boxes: Any, scores: Any, indices: Any, threshold: float) -> Any:
        """Return what torchvision's function of this name returns, for one picture."""
        assert not indices.any()
        order, kept = scores.argsort(descending=True, stable=True).tolist(), []
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        while order:
            first, order = order[0], order[1:]
            kept.append(first)
            rest = boxes[order]
            low = torch.maximum(boxes[first, :2], rest[:, :2])
            high = torch.minimum(boxes[first, 2:], rest[:, 2:])
            shared = (high - low).clamp(min=0).prod(dim=1)
            overlap = shared / (areas[first] + areas[order] - shared)
            order = [each for each, over in zip(order, overlap, strict=True) if over <= threshold]
        return torch.tensor(kept, dtype=torch.long)

    modules = {}
    for name in (
        "torchvision", "torchvision.transforms", "torchvision.transforms.functional",
        "torchvision.ops", "torchvision.ops.boxes", "PIL", "PIL.Image",
    ):  # fmt: skip
        modules[name] = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, modules[name])
    modules["torchvision.ops.boxes"].batched_nms = batched_nms  # type: ignore[attr-defined]
    transforms = modules["torchvision.transforms"]
    transforms.functional = modules["torchvision.transforms.functional"]  # type: ignore[attr-defined]
    modules["PIL"].Image = modules["PIL.Image"]  # type: ignore[attr-defined]
    with package("facenet_pytorch") as archive:
        inside = [each for each in archive.namelist() if "dist-info" not in each]
        archive.extractall(tmp_path, inside)
    (tmp_path / "facenet_pytorch" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in sys.modules if each.startswith("facenet_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    from facenet_pytorch.models import mtcnn

    return mtcnn


@pytest.fixture
def folder(tmp_path: Path, code: Any) -> Path:
    """The exported model folder."""
    out = tmp_path / "mtcnn"
    export_mtcnn(tmp_path / "facenet_pytorch" / "data", out, size=SIZE)
    return out


def tensor_of(picture: Any) -> Any:
    import torch

    return torch.tensor(np.repeat(picture.astype(np.float32)[None, None], 3, axis=1))


def test_outputs_of_all_three_networks_equal_the_original(code: Any, folder: Path) -> None:
    import torch
    from torch.nn.functional import interpolate

    network = open_network(folder, task="face-detection")
    nets = {"propose": code.PNet(), "refine": code.RNet(), "output": code.ONet()}
    for picture in sample_pictures(*SIZE):
        scores, offsets = [], []
        for _, height, width in scales_of(SIZE):
            small = interpolate(tensor_of(picture), size=(height, width), mode="area")
            with torch.no_grad():
                shifts, likely = nets["propose"]((small - 127.5) * 0.0078125)
            scores.append(likely.permute(0, 2, 3, 1).reshape(1, -1, 2).numpy())
            offsets.append(shifts.permute(0, 2, 3, 1).reshape(1, -1, 4).numpy())
        found = network.run(picture[None])
        np.testing.assert_allclose(found["scores"], np.concatenate(scores, axis=1), atol=1e-3)
        np.testing.assert_allclose(found["offsets"], np.concatenate(offsets, axis=1), atol=1e-3)
        for name, side in STAGES.items():
            square = resize_linear(picture, (side, side))
            with torch.no_grad():
                known = nets[name]((tensor_of(square) - 127.5) * 0.0078125)
            roles = (
                ("offsets", "scores") if name == "refine" else ("offsets", "landmarks", "scores")
            )
            found = network.stages[name].run(square[None])
            for role, values in zip(roles, known, strict=True):
                np.testing.assert_allclose(found[role], values.numpy(), atol=1e-3)


def test_detections_equal_those_of_the_original(code: Any, folder: Path) -> None:
    original = code.MTCNN(keep_all=True, select_largest=False, thresholds=[0.6, 0.7, 0.7])
    detector = open_detector(DetectorConfig(model=str(folder), threshold=0.7, nms_iou=1.0))
    face, _ = golden_picture()
    several = np.zeros((192, 320), np.uint8)
    for x, y, width, height in ((0, 0, 160, 96), (160, 0, 140, 84), (60, 96, 160, 96)):
        several[y : y + height, x : x + width] = resize_linear(face, (width, height))
    counts = []
    for picture in (*sample_pictures(*SIZE)[:4], several):
        boxes, scores, points = original.detect(np.repeat(picture[..., None], 3, axis=2), True)
        found = faces_in(detector, picture)
        counts.append(len(found))
        assert len(found) == (0 if boxes is None else len(boxes))
        for one, box, score, marks in zip(found, boxes, scores, points, strict=True):
            corners = (one.box.x, one.box.y, one.box.x + one.box.width, one.box.y + one.box.height)
            np.testing.assert_allclose(corners, np.asarray(box, np.float64), atol=1e-3)
            np.testing.assert_allclose(one.landmarks, np.asarray(marks, np.float32), atol=1e-3)
            assert one.score == pytest.approx(float(score), abs=1e-4)
    assert min(counts) >= 1
    assert max(counts) >= 3
