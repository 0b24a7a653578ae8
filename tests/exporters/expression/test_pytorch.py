"""State dicts of EfficientNet-B0 and DDAMFN: compared with PyTorch, refused, run in a daemon.

The weights are random: published names and shapes, without training.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge.config import ExpressionConfig
from edge.errors import ModelError
from edge.vision.expression import open_expression
from edge.vision.golden import GOLDEN_FACE, expression_findings
from edge.vision.inference import open_network, verify
from edge.vision.inference.runtimes import OnnxSession
from exporters.artifacts import graph
from exporters.artifacts.parity import sample_pictures
from exporters.cli import main
from exporters.expression.ddamfn import build_ddamfn
from exporters.expression.efficientnet import build_efficientnet
from exporters.expression.export import export_expression
from exporters.expression.known import IMAGENET, KNOWN
from exporters.expression.original import ExpressionOptions
from tests.support.command_errors import refusal
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.expression_states import ddamfn_state, efficientnet_state
from tests.support.model_folders import Change, changed_copy
from tests.support.torch_files import checkpoint


def small_efficientnet(folder: Path) -> Path:
    """Export an EfficientNet-B0 with ten values, for pictures of 64 pixels; return its folder."""
    weights = checkpoint(folder / "net.pt", efficientnet_state(10, sequential=True))
    options = ExpressionOptions(any_network=True, network="hsemotion", labels=())
    export_expression(weights, folder / "net", size=(64, 64), overrides=options)
    return folder / "net"


def small_ddamfn(folder: Path) -> Path:
    """Export a DDAMFN of seven classes with one block in each stage; return its folder."""
    weights = checkpoint(folder / "net.pth", ddamfn_state(7, blocks=1))
    options = ExpressionOptions(any_network=True, labels=())
    export_expression(weights, folder / "net", overrides=options)
    return folder / "net"


SMALL = {"efficientnet": small_efficientnet, "ddamfn": small_ddamfn}


@pytest.fixture(scope="module", params=SMALL)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = SMALL[request.param](tmp_path_factory.mktemp(request.param))
    assert verify(folder) == []
    return folder


def findings(folder: Path) -> list[str]:
    network = open_expression(ExpressionConfig(model=str(folder), artifact="expression.onnx"))
    return [str(each) for each in expression_findings(network)]


def other_labels(data: dict[str, Any]) -> None:
    data["labels"] = [data["labels"][1], data["labels"][0], *data["labels"][2:]]


def other_range(data: dict[str, Any]) -> None:
    data["input"]["value_range"] = [-1.0, 1.0]


@pytest.mark.parametrize("change", [other_labels, other_range])
def test_the_golden_face_tells_wrong_labels_and_another_normalisation(
    small: Path, tmp_path: Path, change: Change
) -> None:
    assert findings(small) == []
    assert findings(changed_copy(small, tmp_path / "net", change))


def test_the_golden_face_tells_blue_first_from_red_first(small: Path, tmp_path: Path) -> None:
    """The pictures are grey, so that only the normalisation of each channel shows the order."""
    model = onnx.load(small / "expression.onnx")
    first = model.graph.node[0]
    for weight in model.graph.initializer:
        if weight.name in first.input:
            values = numpy_helper.to_array(weight)
            assert len(values) == 3
            weight.CopyFrom(numpy_helper.from_array(values[::-1].copy(), weight.name))
    content = model.SerializeToString()

    def swapped(data: dict[str, Any]) -> None:
        data["artifacts"][0].update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    copy = changed_copy(small, tmp_path / "net", swapped)
    (copy / "expression.onnx").write_bytes(content)
    assert findings(copy)


@pytest.mark.parametrize(
    "small", ["ddamfn", pytest.param("efficientnet", marks=pytest.mark.export)], indirect=True
)
def test_a_daemon_runs_it_by_configuration_alone(small: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "face.png").write_bytes(GOLDEN_FACE.read_bytes())
    options = ["--set", f'expression.model="{small}"', "--set", f'journal.path="{tmp_path}/state"']
    with RunningDaemon(
        tmp_path,
        "--source",
        str(pictures),
        "--no-pace",
        "--wait-for-subscriber",
        *PURPOSE,
        *options,
    ) as daemon:
        assert daemon.run_to_end() == 0
        (face,) = daemon.frames[0]["faces"]
    probabilities = face["expression"]["probabilities"]
    known = [share for share in probabilities.values() if share is not None]
    assert sum(known) == pytest.approx(1, abs=1e-3)
    is_ddamfn = len(known) == 7
    assert (probabilities["contempt"] is None) is is_ddamfn
    assert face["affect"]["source"] == ("anchors" if is_ddamfn else "network")


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], list[str], str]] = {
    "padding unknown": (
        lambda: efficientnet_state(8), [], "whose padding is not in the file; give --network",
    ),
    "EfficientNet named DDAMFN": (
        lambda: efficientnet_state(8), ["--network", "ddamfn"], "an EfficientNet of timm",
    ),
    "DDAMFN named HSEmotion": (
        lambda: ddamfn_state(8, blocks=1), ["--network", "hsemotion"],
        "a DDAMFN; expected --network ddamfn, received hsemotion",
    ),
    "DDAMFN of another size": (
        lambda: ddamfn_state(8, blocks=1), ["--size", "224x224"], "DDAMFN takes 112x112 only",
    ),
    "order of classes unknown": (
        lambda: efficientnet_state(8), ["--network", "efficientnet"], "the order of its classes",
    ),
    "other number of classes": (
        lambda: efficientnet_state(6), ["--network", "hsemotion"], "has 8 or 7 classes",
    ),
    "another network": (
        lambda: {"fc.weight": np.zeros((2, 2), np.float32)}, [], "neither timm's EfficientNet",
    ),
    "a weight too many": (
        lambda: ddamfn_state(8, blocks=1) | {"head.weight": np.zeros(3, np.float32)}, [],
        "head.weight is not known",
    ),
    "a weight missing": (
        lambda: {n: v for n, v in efficientnet_state(8).items() if n != "blocks.3.1.bn2.weight"},
        ["--network", "hsemotion"], "blocks.3.1.bn2.weight is missing",
    ),
    "random weights": (
        lambda: ddamfn_state(8, blocks=1), [], "is the network trained? (--unverified",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_in_one_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words, complaint = REFUSED[name]
    weights = checkpoint(tmp_path / "net.pth", make())
    out = tmp_path / "net"
    command = ["expression", "--weights", str(weights), "--out", str(out), *words]
    assert complaint in refusal(main, command, capsys)
    assert not out.exists()


def test_the_first_version_of_ddamfn_is_refused() -> None:
    state = {
        name: values for name, values in ddamfn_state(8, blocks=1).items() if ".Linear_" not in name
    }
    with pytest.raises(ModelError, match="first version of DDAMFN; export that one to ONNX"):
        build_ddamfn(state, (112, 112))


@pytest.mark.parametrize("name", ["hsemotion", "efficientnet"])
@pytest.mark.parametrize("size", [(224, 224), (260, 260), (100, 75)])
@pytest.mark.export
def test_efficientnet_gives_the_values_of_pytorch(name: str, size: tuple[int, int]) -> None:
    import torch

    from tests.support.torch_networks import efficientnet

    state, known = efficientnet_state(10, sequential=name == "hsemotion"), KNOWN[name]
    width, height = size
    x = np.random.default_rng(3).normal(0, 1, (1, 3, height, width)).astype(np.float32)
    model = build_efficientnet(state, size, known)
    values = OnnxSession(graph.finish(model), 1).run(x)["values"]
    is_same = known.padding == "same"
    expected = efficientnet(state, torch.from_numpy(x), same=is_same, epsilon=known.norm_epsilon)
    np.testing.assert_allclose(values, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("mono", [False, True])
@pytest.mark.parametrize(
    ("kind", "size"), [("hsemotion", 224), ("hsemotion", 260), ("ddamfn", 112)]
)
@pytest.mark.export
def test_exported_networks_give_the_values_of_pytorch_within_a_ten_thousandth(
    tmp_path: Path, kind: str, size: int, mono: bool
) -> None:
    """From the checkpoint through export to the artifact, as the daemon runs it."""
    import torch

    from tests.support.torch_networks import ddamfn, efficientnet

    state = ddamfn_state(8) if kind == "ddamfn" else efficientnet_state(10, sequential=True)
    weights = tmp_path / "net.pth"
    torch.save({"model_state_dict": {n: torch.from_numpy(v) for n, v in state.items()}}, weights)
    options = ExpressionOptions(any_network=True, network=kind, labels=())
    manifest = export_expression(
        weights, tmp_path / "net", size=(size, size), mono=mono, overrides=options
    )
    assert all(parity.passed for parity in manifest.parity.values())
    network = open_network(tmp_path / "net", task="facial-expression")
    mean, std = (np.array(each)[:, None, None] for each in IMAGENET)
    for picture in sample_pictures(size, size)[:4]:
        x = torch.from_numpy(((picture / 255)[None] - mean) / std)[None].float()
        heads = network.run(picture[None])
        if kind == "ddamfn":
            expected = torch.softmax(ddamfn(state, x)[0], 1)
        else:
            values = efficientnet(state, x, same=True, epsilon=1e-3)
            expected = torch.softmax(values[:, :8], 1)
            np.testing.assert_allclose(heads["affect"], values[:, 8:].numpy(), atol=1e-4)
        np.testing.assert_allclose(heads["expression"], expected.numpy(), atol=1e-4)
