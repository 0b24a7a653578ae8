"""Calibration faces of an int8 expression network, and its nodes that stay float."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import onnx

from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import Split, face_crops, float_network
from edge.vision.detect import detector_for
from edge.vision.expression.readout import FEATURES
from edge.vision.golden import CONFIDENT_SCORE
from edge.vision.inference import Network
from edge.vision.values import Floats, Luma
from exporters.artifacts.parity import LIMITS, check_against_limits
from exporters.artifacts.quantize import Board, quantize_onnx
from exporters.expression.original import Original

_FIRST_FLOAT: Final = (3, 5)
"""Numbers of first convolutions that stay float, tried in this order. The largest error of a
probability of two networks on 64 faces was .042 with one, .024 with three."""

_DETECTOR: Final = "centerface-640x384"


def calibration_faces(split: Split, original: Original) -> tuple[list[Luma], list[Luma]]:
    """Return faces for calibration, and other faces for evaluation."""
    network = float_network(_DETECTOR, "face-detection")
    detector = detector_for(network, threshold=CONFIDENT_SCORE, nms_iou=0.3)
    size, margin = original.source.size, original.preparation.margin
    calibrate, evaluate = (
        list(face_crops(pictures, detector, size, margin))
        for pictures in (split.calibrate, split.evaluate)
    )
    return calibrate, evaluate


def choose_float_nodes(
    content: bytes,
    open_artifact: Callable[[bytes], Network],
    reference: Network,
    *,
    tensors: Sequence[Floats],
    crops: Sequence[Luma],
    board: Board,
) -> list[str]:
    """Return the names of the nodes that stay float in int8 artifacts.

    The heads always stay float: they cost hardly any time, and int8 clips faces that differ more
    than the calibration faces (CCC of valence on 600 visible-light crops: int8 heads .93, float
    heads .999). Of the convolutions the first ones, which see the finest differences: as few as
    parity allows.

    Args:
        content: the float graph.
        open_artifact: returns a network that runs an int8 artifact.
        reference: the network of the float graph.
        tensors: input tensors for calibration.
        crops: faces for evaluation.
        board: whose int8 kernels to quantise for.

    Raises:
        ModelError: the graph cannot be quantised, or there are too few faces for evaluation.
    """
    nodes = onnx.load_model_from_string(content).graph
    heads = _head_nodes(nodes)
    first = [node.name for node in nodes.node if node.op_type == "Conv"]
    kept = heads
    for count in _FIRST_FLOAT:
        kept = [*first[:count], *heads]
        network = open_artifact(quantize_onnx(content, tensors, float_nodes=kept, board=board))
        agreement = expression_agreement(reference, network, crops)
        if check_against_limits(agreement, LIMITS["facial-expression"], len(crops)).passed:
            break
    return kept


def _head_nodes(nodes: Any) -> list[str]:
    """Return the names of each output's last node with weights and of the nodes after it."""
    producers = {output: node for node in nodes.node for output in node.output}
    found = []
    for value in nodes.output:
        if value.name == FEATURES:  # what the heads read, and made by most of the network
            continue
        name = value.name
        while name in producers:
            node = producers[name]
            if node.name not in found:
                found.append(node.name)
            if node.op_type in ("Gemm", "MatMul", "Conv"):
                break
            name = next((each for each in node.input if each in producers), "")
    return found
