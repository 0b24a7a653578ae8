"""The network that the recipe trains, and its ONNX checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ConfigError
from tests.support.training_data import ferplus_file

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")


def test_a_face_costs_at_most_40_million_multiply_adds() -> None:
    from exporters.recipes.networks import SIDE, STUDENT_WIDTHS, ExpressionNetwork

    network = ExpressionNetwork(STUDENT_WIDTHS).eval()
    total = 0

    def count(module: Any, _inputs: Any, output: Any) -> None:
        nonlocal total
        total += module.weight[0].numel() * output.numel()

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    network(torch.zeros(1, 1, SIDE, SIDE))
    assert total <= 40e6


def test_the_checkpoint_is_equivalent_and_deterministic(tmp_path: Path) -> None:
    from edge.vision.inference.ort import onnxruntime
    from exporters.recipes.networks import ExpressionNetwork
    from exporters.recipes.onnx_file import write_checkpoint

    torch.manual_seed(2)
    network = ExpressionNetwork((8, 12, 16, 24))
    network.train()(torch.randn(16, 1, 48, 48))  # changes the batch-norm statistics
    for name in ("a.onnx", "b.onnx"):
        write_checkpoint(network, tmp_path / name, "test")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    x = torch.randn(1, 1, 48, 48)
    logits, affect = session.run(["logits", "affect"], {"input": x.numpy()})
    with torch.no_grad():
        expected = network.eval()(x)
    assert np.abs(logits - expected[0].numpy()).max() < 1e-5
    assert np.abs(affect - expected[1].numpy()).max() < 1e-5


def test_a_checkpoint_read_back_is_equivalent_and_trainable(tmp_path: Path) -> None:
    from exporters.recipes.learner import TrainOptions
    from exporters.recipes.networks import ExpressionNetwork
    from exporters.recipes.onnx_file import read_checkpoint, reset_batch_norms, write_checkpoint
    from exporters.recipes.runs import load_networks
    from exporters.recipes.train import train

    torch.manual_seed(2)
    network = ExpressionNetwork(dropout=0.0)
    for block in network.body:  # an untrained block is the identity
        if hasattr(block, "second_norm"):
            torch.nn.init.ones_(block.second_norm.weight)
    network.train()(torch.randn(16, 1, 48, 48))
    write_checkpoint(network.eval(), tmp_path / "a.onnx", "test")
    read = read_checkpoint(tmp_path / "a.onnx")
    x = torch.randn(32, 1, 48, 48)
    with torch.no_grad():
        expected = torch.cat(network(x), 1)
        assert torch.allclose(torch.cat(read(x), 1), expected, atol=1e-4)
        reset_batch_norms(read, x)
        assert torch.allclose(torch.cat(read(x), 1), expected, atol=1e-4)
        read.dropout.p = 0.0
        # in training mode the statistics of the batch count: the same ones here
        assert torch.allclose(torch.cat(read.train()(x), 1), expected, atol=1e-4)
    data = ferplus_file(tmp_path / "a.npz")
    tiny_rate = TrainOptions(epochs=1, batch=8, rate=1e-9)
    train(data, tmp_path / "run", tiny_rate, teachers=[tmp_path / "a.onnx"])
    start = load_networks(tmp_path / "run")[0].expression.weight
    assert torch.allclose(start, network.expression.weight, atol=1e-4)
    with pytest.raises(ConfigError, match="other options or teachers"):
        train(data, tmp_path / "run", tiny_rate)
