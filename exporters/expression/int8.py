"""Calibration faces of an int8 expression network, and its nodes that stay float."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import onnx

from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import Split, face_crops, float_network
from edge.vision.detect import detector_for
from edge.vision.golden import CONFIDENT_SCORE
from edge.vision.inference import Network
from edge.vision.values import Floats, Luma
from exporters.artifacts.parity import LIMITS, check_against_limits
from exporters.artifacts.quantize import Board, quantize_onnx
from exporters.expression.original import Original

_FIRST_FLOAT: Final = (3, 5)
"""How many of the first convolutions stay float: tried in this order. With one, probabilities of
two networks were off by up to .042 on 64 faces; with three by .024."""

_DETECTOR: Final = "centerface-640x384"


def calibration_faces(split: Split, original: Original) -> tuple[list[Luma], list[Luma]]:
    """Return faces to calibrate with, and other faces to evaluate on."""
    network = float_network(_DETECTOR, "face-detection")
    detector = detector_for(network, threshold=CONFIDENT_SCORE, nms_iou=0.3)
    size, margin = original.source.size, original.preparation.margin
    one, other = (
        list(face_crops(pictures, detector, size, margin))
        for pictures in (split.calibrate, split.evaluate)
    )
    return one, other


def choose_float_nodes(
    content: bytes,
    running: Callable[[bytes], Network],
    reference: Network,
    *,
    tensors: Sequence[Floats],
    crops: Sequence[Luma],
    board: Board,
) -> list[str]:
    """Return the names of the nodes that stay float in int8 artifacts.

    The heads always do: they cost nothing, and integers cut off faces that differ more than those
    calibrated with (on 600 visible-light crops CCC of valence was .93, with float heads .999). Of
    the convolutions the first ones, which see the finest differences, as far as it takes.

    Args:
        content: the float graph.
        running: opens an int8 artifact.
        reference: the float graph, running.
        tensors: inputs to calibrate with.
        crops: faces to evaluate on.
        board: whose int8 kernels to quantise for.

    Raises:
        ModelError: the graph cannot be quantised, or there are too few faces to evaluate on.
    """
    nodes = onnx.load_model_from_string(content).graph
    heads = _head_nodes(nodes)
    first = [node.name for node in nodes.node if node.op_type == "Conv"]
    kept = heads
    for count in _FIRST_FLOAT:
        kept = [*first[:count], *heads]
        network = running(quantize_onnx(content, tensors, float_nodes=kept, board=board))
        agreement = expression_agreement(reference, network, crops)
        if check_against_limits(agreement, LIMITS["facial-expression"], len(crops)).passed:
            break
    return kept


def _head_nodes(nodes: Any) -> list[str]:
    """Return the names of the nodes from the last weights before each output to the output."""
    makers = {output: node for node in nodes.node for output in node.output}
    found = []
    for value in nodes.output:
        name = value.name
        while name in makers:
            node = makers[name]
            if node.name not in found:
                found.append(node.name)
            if node.op_type in ("Gemm", "MatMul", "Conv"):
                break
            name = next((each for each in node.input if each in makers), "")
    return found
