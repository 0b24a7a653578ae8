"""Writes the trained network as the mono ONNX checkpoint that ``exporters mobilenet-fer`` takes."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from exporters.recipes.networks import SIDE, ExpressionNetwork, ResidualBlock


class _Graph:
    """Nodes and weights in the order in which they run."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, x: str, name: str) -> str:
        """Add a convolution with its batch norm folded in."""
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).double()
        kernel = conv.weight.double() * factor[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * factor
        return self.add(
            "Conv",
            [
                x,
                self.weight(f"{name}.weight", kernel.detach().numpy()),
                self.weight(f"{name}.bias", bias.detach().numpy()),
            ],
            name,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[int(conv.padding[0])] * 4,
        )

    def block(self, block: ResidualBlock, x: str, name: str) -> str:
        y = self.convolution(block.first, block.first_norm, x, f"{name}.first")
        y = self.add("Relu", [y], f"{name}.first.relu")
        y = self.convolution(block.second, block.second_norm, y, f"{name}.second")
        if isinstance(block.shortcut, nn.Sequential):
            conv, norm = block.shortcut
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            x = self.convolution(conv, norm, x, f"{name}.shortcut")
        y = self.add("Add", [y, x], f"{name}.add")
        return self.add("Relu", [y], f"{name}.relu")

    def dense(self, x: str, name: str, head: nn.Linear) -> None:
        """Add the output ``name``: what ``head`` makes of ``x``."""
        inputs = [
            x,
            self.weight(f"{name}.weight", head.weight.detach().numpy()),
            self.weight(f"{name}.bias", head.bias.detach().numpy()),
        ]
        self.add("Gemm", inputs, name, transB=1)


@torch.no_grad()
def write_checkpoint(network: ExpressionNetwork, path: Path, notes: str) -> None:
    """Write ``network`` to ``path``: input ``input``, outputs ``logits`` and ``affect``."""
    network.eval()
    graph = _Graph()
    x = "input"
    layers = list(network.body)
    conv, norm = layers[0], layers[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    x = graph.convolution(conv, norm, x, "stem")
    x = graph.add("Relu", [x], "stem.relu")
    x = graph.add("MaxPool", [x], "stem.pool", kernel_shape=[2, 2], strides=[2, 2])
    blocks = [layer for layer in layers if isinstance(layer, ResidualBlock)]
    for index, block in enumerate(blocks):
        x = graph.block(block, x, f"block{index}")
    x = graph.add("GlobalAveragePool", [x], "pool")
    x = graph.add("Flatten", [x], "features", axis=1)
    graph.dense(x, "logits", network.expression)
    graph.dense(x, "affect", network.affect)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "expression",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
            [
                helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8]),
                helper.make_tensor_value_info("affect", TensorProto.FLOAT, [1, 2]),
            ],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="affect-edge",
        doc_string=notes,
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
