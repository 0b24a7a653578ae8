"""Writes and reads the trained network as an ONNX checkpoint for ``exporters mobilenet-fer``."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge.errors import ConfigError
from exporters.artifacts.graph import load_graph
from exporters.recipes.networks import SIDE, ExpressionNetwork, ResidualBlock


class _Graph:
    """Collects the nodes and weights of a graph in topological order."""

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
        """Add a convolution whose batch norm is folded in and only adds its bias."""
        return self.add(
            "Conv",
            [
                x,
                self.weight(f"{name}.weight", conv.weight.detach().numpy()),
                self.weight(f"{name}.bias", norm.bias.detach().numpy()),
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
            conv, norm = _pair(block.shortcut)
            x = self.convolution(conv, norm, x, f"{name}.shortcut")
        y = self.add("Add", [y, x], f"{name}.add")
        return self.add("Relu", [y], f"{name}.relu")

    def dense(self, x: str, name: str, head: nn.Linear) -> None:
        """Add the output ``name`` of a linear ``head`` on ``x``."""
        inputs = [
            x,
            self.weight(f"{name}.weight", head.weight.detach().numpy()),
            self.weight(f"{name}.bias", head.bias.detach().numpy()),
        ]
        self.add("Gemm", inputs, name, transB=1)


def _pair(layers: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return the convolution and the norm at the start of ``layers``."""
    conv, norm = layers[0], layers[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return conv, norm


def _blocks(network: ExpressionNetwork) -> list[ResidualBlock]:
    return [layer for layer in network.body if isinstance(layer, ResidualBlock)]


def _convolutions(network: ExpressionNetwork) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Yield each convolution with its name in the file and its norm."""
    yield "stem", *_pair(network.body)
    for index, block in enumerate(_blocks(network)):
        yield f"block{index}.first", block.first, block.first_norm
        yield f"block{index}.second", block.second, block.second_norm
        if isinstance(block.shortcut, nn.Sequential):
            yield f"block{index}.shortcut", *_pair(block.shortcut)


@torch.no_grad()
def write_checkpoint(network: ExpressionNetwork, path: Path, notes: str) -> None:
    """Write ``network`` to ``path``: input ``input``, outputs ``logits`` and ``affect``."""
    network = fold_batch_norms(network)
    graph = _Graph()
    (_, conv, norm), *_ = _convolutions(network)
    x = graph.convolution(conv, norm, "input", "stem")
    x = graph.add("Relu", [x], "stem.relu")
    x = graph.add("MaxPool", [x], "stem.pool", kernel_shape=[2, 2], strides=[2, 2])
    for index, block in enumerate(_blocks(network)):
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


@torch.no_grad()
def read_checkpoint(path: Path, option: str = "--guides") -> ExpressionNetwork:
    """Return the network that ``write_checkpoint`` wrote to ``path``, or a float export of it.

    The batch norms are folded in the file, so those of the network only add a bias. Predictions are
    the same; further training needs ``reset_batch_norms`` first. ``option`` is for messages.

    Raises:
        ModelError: the file is not an ONNX file.
        ConfigError: it holds another network.
    """
    graph = load_graph(path, option)[0].graph
    kept = {each.name: each for each in graph.initializer}
    network = ExpressionNetwork().eval()
    places: dict[str, Tensor] = {}
    for name, conv, norm in _convolutions(network):
        _make_bias_only(norm)
        places |= {f"{name}.weight": conv.weight, f"{name}.bias": norm.bias}
    for name, head in (("logits", network.expression), ("affect", network.affect)):
        places |= {f"{name}.weight": head.weight, f"{name}.bias": head.bias}
    for name, place in places.items():
        weight, shape = kept.get(name), list(place.shape)
        if weight is None or weight.data_type != TensorProto.FLOAT or list(weight.dims) != shape:
            raise ConfigError(
                f"{option} {path}: has no {name} of {shape}, float32; expected an ONNX file of "
                "the recipe's network, at fp32"
            )
        place.copy_(torch.from_numpy(numpy_helper.to_array(weight).copy()))
    return network


@torch.no_grad()
def fold_batch_norms(network: ExpressionNetwork) -> ExpressionNetwork:
    """Return an equivalent network with folded batch norms, as in a file."""
    result = copy.deepcopy(network).eval()
    for _, conv, norm in _convolutions(result):
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).double()
        conv.weight.copy_(conv.weight.double() * factor[:, None, None, None])
        norm.bias.copy_(norm.bias.double() - norm.running_mean.double() * factor)
        _make_bias_only(norm)
    return result


def _make_bias_only(norm: nn.BatchNorm2d) -> None:
    """Set ``norm`` to add its bias and do nothing else."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)


@torch.no_grad()
def reset_batch_norms(network: ExpressionNetwork, batch: Tensor) -> None:
    """Set the batch norms of a network from a file to the statistics of ``batch``.

    The network computes the same function, and its batch norms are ready for further training.
    """
    network.eval()
    inputs_of: dict[nn.Module, Tensor] = {}
    norms = [norm for _, _, norm in _convolutions(network)]
    hooks = [
        norm.register_forward_pre_hook(lambda norm, inputs: inputs_of.update({norm: inputs[0]}))
        for norm in norms
    ]
    network(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        mean = inputs_of[norm].mean((0, 2, 3))
        variance = inputs_of[norm].var((0, 2, 3), correction=0)
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias.add_((mean - norm.running_mean) * factor)
        norm.weight.copy_(factor * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
