"""Rewrites transposed convolutions as convolutions, which int8 runtimes run fast."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge.vision.values import Floats


def rewrite_transposed(model: Any) -> int:
    """Rewrite transposed convolutions that enlarge by exactly their stride; return the number.

    Output pixel ``s i + r`` of a transposed convolution is a sum over the input pixels ``i + d``
    with kernel index ``k = r + p - s d``: an ordinary convolution for each of the ``s * s``
    remainders r. One convolution with ``s * s`` times the channels computes them all (sub-pixel
    convolution), and DepthToSpace in mode DCR, TensorFlow's, rearranges its output. The result is
    equal except for rounding.

    Those with groups, dilation, unequal sides or another output size stay unchanged.
    """
    weights = {each.name: each for each in model.graph.initializer}
    rewritten = 0
    nodes: list[Any] = []
    for node in model.graph.node:
        kernel = _kernel(node, weights) if node.op_type == "ConvTranspose" else None
        if kernel is None:
            nodes.append(node)
            continue
        weight, stride, pad = kernel
        name = node.output[0]
        convolution, low, high = subpixel_kernel(weight, stride, pad)
        stored = [numpy_helper.from_array(convolution, f"{name}.subpixel.weight")]
        if len(node.input) > 2:
            tiled = np.tile(numpy_helper.to_array(weights[node.input[2]]), stride * stride)
            stored.append(numpy_helper.from_array(tiled, f"{name}.subpixel.bias"))
        model.graph.initializer.extend(stored)
        inputs = [node.input[0], *(each.name for each in stored)]
        nodes += [
            helper.make_node(
                "Conv", inputs, [f"{name}.subpixel"], name=f"{name}.subpixel",
                kernel_shape=list(convolution.shape[2:]), strides=[1, 1],
                pads=[low, low, high, high],
            ),
            helper.make_node(
                "DepthToSpace", [f"{name}.subpixel"], [name], name=name,
                blocksize=stride, mode="DCR",
            ),
        ]  # fmt: skip
        rewritten += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return rewritten


def upsampling_nodes(model: bytes) -> list[str]:
    """Return the names of the convolutions of an ONNX model that feed a DepthToSpace."""
    graph = onnx.load_model_from_string(model).graph
    rearranged = {node.input[0] for node in graph.node if node.op_type == "DepthToSpace"}
    return [node.name for node in graph.node if rearranged & set(node.output)]


def subpixel_kernel(weight: Floats, stride: int, pad: int) -> tuple[Floats, int, int]:
    """Return the kernel of the equivalent convolution, and its padding before and after.

    Args:
        weight: (inputs, outputs, k, k), of the transposed convolution.
        stride: of the transposed convolution.
        pad: of the transposed convolution, at the start of each axis.

    Returns:
        float32 (stride * stride * outputs, inputs, n, n); channel ``(r * stride + q) * outputs +
        c`` holds channel ``c`` of the pixels at remainder r vertically and q horizontally.
    """
    inputs, outputs, k, _ = weight.shape
    low = (k - 1 - pad) // stride  # -d of the first input pixel that any remainder needs
    high = (stride - 1 + pad) // stride  # d of the last
    taps = low + high + 1
    made = np.zeros((stride, stride, outputs, inputs, taps, taps), np.float32)
    for r, q in np.ndindex(stride, stride):
        for y, x in np.ndindex(taps, taps):
            down, across = r + pad - stride * (y - low), q + pad - stride * (x - low)
            if 0 <= down < k and 0 <= across < k:
                made[r, q, :, :, y, x] = weight[:, :, down, across].T
    return made.reshape(-1, inputs, taps, taps), low, high


def _kernel(node: Any, weights: dict[str, Any]) -> tuple[Floats, int, int] | None:
    """Return weight, stride and padding of a node that can be rewritten; else None."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if any(name not in weights for name in node.input[1:]):
        return None
    weight = numpy_helper.to_array(weights[node.input[1]])
    k = weight.shape[2]
    strides = attributes.get("strides", [1, 1])
    before, after = np.split(np.array(attributes.get("pads", [0] * 4)), 2)
    added = np.array(attributes.get("output_padding", [0, 0]))
    stride, pad = strides[0], int(before[0])
    rewritable = (
        weight.ndim == 4
        and weight.shape[3] == k
        and list(strides) == [stride, stride]
        and list(before) == [pad, pad]
        and attributes.get("group", 1) == 1
        and set(attributes.get("dilations", [1])) == {1}
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        and "output_shape" not in attributes
        and (k - before - after + added == stride).all()
    )
    return (weight, stride, pad) if rewritable else None
