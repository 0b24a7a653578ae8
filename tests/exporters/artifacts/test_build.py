"""Artifacts of one float graph: same outputs, deterministic bytes, refusals."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference import find_model
from edge.vision.inference.manifest import Artifact
from edge.vision.inference.runtimes import OnnxSession, open_session
from exporters.artifacts import graph, tflite
from exporters.artifacts.build import build_artifacts, check_tools
from exporters.artifacts.quantize import quantize_onnx

RANDOM = np.random.default_rng(11)
BOTH = {"formats": ("onnx", "tflite"), "precisions": ("fp32", "int8")}


def net(opset: int = 9, *, bias: bool = True, kernel: int = 2) -> Any:
    """Return a small network with the layers of a detector and named nodes."""
    random = np.random.default_rng(3)
    weights = {
        "w": random.normal(0, 0.3, (8, 1, 3, 3)),
        "d": random.normal(0, 0.3, (8, 1, 3, 3)),
        "u": random.normal(0, 0.3, (8, 6, kernel, kernel)),
        "b": random.normal(0, 0.3, 6),
        "h": random.normal(0, 0.3, (2, 6, 1, 1)),
        "g": random.normal(0, 0.3, (2, 6, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["e"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["e", "r"], ["s"]),
        helper.make_node(
            "ConvTranspose", ["s", "u", "b"] if bias else ["s", "u"], ["t"],
            strides=[2, 2], kernel_shape=[kernel, kernel],
        ),
        helper.make_node("Conv", ["t", "h"], ["y"]),
        helper.make_node("Conv", ["t", "g"], ["v"]),
        helper.make_node("Sigmoid", ["v"], ["z"]),
    ]  # fmt: skip
    side = 16 if kernel == 2 else 17
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (1, 1, 16, 24)), ("y", (1, 2, side, side + 8)))
    ]
    last = helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 2, side, side + 8))
    model = helper.make_model(
        helper.make_graph(
            nodes, "net", values[:1], [values[1], last],
            [numpy_helper.from_array(each.astype(np.float32), name)
             for name, each in weights.items() if bias or name != "b"],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=4,
    )  # fmt: skip
    graph.name_nodes(model)
    return model


def tensors(count: int = 12) -> list[Any]:
    return [RANDOM.uniform(-2, 2, (1, 1, 16, 24)).astype(np.float32) for _ in range(count)]


def max_error(content: bytes, artifact: Artifact, inputs: list[Any]) -> float:
    """Return the largest difference of any output from the float graph."""
    reference, session = (
        OnnxSession(net().SerializeToString(), 1),
        open_session(artifact.runtime, content, 1),
    )
    nhwc = artifact.layout == "nhwc"
    error = 0.0
    for tensor in inputs:
        known = reference.run(tensor)
        outputs = session.run(tensor.transpose(0, 2, 3, 1) if nhwc else tensor)
        for name, values in known.items():
            made = outputs[name].transpose(0, 3, 1, 2) if nhwc else outputs[name]
            assert made.shape == values.shape
            error = max(error, float(np.abs(made - values).max()))
    return error


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_transposed_convolution_with_kernel_equal_to_stride_becomes_a_convolution(
    bias: bool, kernel: int
) -> None:
    model = onnx.version_converter.convert_version(net(bias=bias, kernel=kernel), 17)
    inputs = tensors(3)
    before = [OnnxSession(model.SerializeToString(), 1).run(tensor)["z"] for tensor in inputs]
    rewritten = graph.transposed_to_depth_to_space(model)
    assert rewritten == (1 if kernel == 2 else 0)  # a kernel of 3 overlaps its neighbours
    after = [OnnxSession(model.SerializeToString(), 1).run(tensor)["z"] for tensor in inputs]
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize("board", ["x86", "arm"])
def test_int8_onnx_is_close_to_float_signed_per_board_and_deterministic(board: Any) -> None:
    inputs = tensors()
    content = graph.finish(net())
    made = [quantize_onnx(content, inputs, board=board) for _ in range(2)]
    assert made[0] == made[1]
    model = onnx.load_model_from_string(made[0])
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "DepthToSpace"} <= kinds
    assert "ConvTranspose" not in kinds
    zero_points = {
        weight.data_type
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
        for weight in model.graph.initializer
        if weight.name == node.input[2]
    }
    assert zero_points == {TensorProto.UINT8 if board == "x86" else TensorProto.INT8}
    artifact = Artifact(
        file="a.onnx", runtime="onnxruntime", precision="int8", sha256="0" * 64, bytes=1
    )
    assert 0 < max_error(made[0], artifact, inputs) < 0.1


def test_float_nodes_stay_float_and_unknown_names_are_refused() -> None:
    content = graph.finish(net())
    whole = onnx.load_model_from_string(quantize_onnx(content, tensors()))
    kept = onnx.load_model_from_string(
        quantize_onnx(content, tensors(), float_nodes=["Conv_0", "Relu_1"])
    )
    only = onnx.load_model_from_string(quantize_onnx(content, tensors(), operators=["Conv"]))

    def first_input(model: Any) -> str:
        return next(node for node in model.graph.node if node.op_type == "Conv").input[0]

    assert first_input(whole) != "x"
    assert first_input(kept) == "x"
    ends = [
        next(node.op_type for node in each.graph.node if "z" in node.output)
        for each in (whole, only)
    ]
    assert ends == ["DequantizeLinear", "Sigmoid"]
    with pytest.raises(ModelError, match=r"no nodes \['Conv_99'\]"):
        quantize_onnx(content, tensors(), float_nodes=["Conv_99"])


def test_onnx_artifacts_need_onnxruntime_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tflite.ONNX2TF_VARIABLE, "/nowhere")
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    built = build_artifacts(
        graph.finish(net()), stem="net", formats=["onnx"], precisions=["fp32", "int8"],
        calibration=tensors(),
    )  # fmt: skip
    assert [each.file for each in built] == ["net.onnx", "net.int8.onnx"]
    for artifact, content in built.items():
        assert artifact.bytes == len(content)
        assert (artifact.layout, artifact.dtype) == (None, None)


@pytest.mark.parametrize(
    ("formats", "precisions", "calibrated", "complaint"),
    [
        (["tflite"], ["fp32"], False, "no converter at /nowhere; run `make setup-export` and use"),
        (["onnx"], ["int8"], False, "expected --calibration DIR"),
        (["onnx"], ["fp16"], False, "fp16 is not built"),
        (["onnx", "coreml"], ["fp32"], False, "'coreml' is none of onnx, tflite"),
        (["onnx"], ["fp32", "fp32"], False, "each once"),
        ([], ["fp32"], False, "expected some of onnx, tflite"),
    ],
)
def test_options_and_tools_are_checked_first(
    formats: list[str],
    precisions: list[str],
    calibrated: bool,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(tflite.ONNX2TF_VARIABLE, "/nowhere")
    with pytest.raises(ModelError, match=complaint) as caught:
        check_tools(formats, precisions, calibrated=calibrated)
    assert "\n" not in str(caught.value)


@pytest.fixture
def install_converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that replaces the converter by a shell script."""

    def install(script: str) -> None:
        tool = tmp_path / "onnx2tf"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv(tflite.ONNX2TF_VARIABLE, str(tool))

    return install


def test_a_missing_quantiser_is_reported_first(
    install_converter: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_converter("exit 1")
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    check_tools(["tflite"], ["fp32"], calibrated=False)
    with pytest.raises(ModelError, match="no ai-edge-quantizer here; run `make setup-export`"):
        check_tools(["tflite"], ["int8"], calibrated=True)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'it broke' >&2; exit 3", r"cannot convert this graph \(exit 3\): it broke"),
        ("exit 0", r"cannot convert this graph \(exit 0\)"),
    ],
)
def test_a_failing_converter_is_reported_in_one_line(
    script: str, complaint: str, install_converter: Callable[[str], None]
) -> None:
    install_converter(script)
    with pytest.raises(ModelError, match=complaint) as caught:
        tflite.convert_float(graph.finish(net()))
    assert "\n" not in str(caught.value)


def test_an_invalid_file_from_the_converter_is_refused(
    install_converter: Callable[[str], None],
) -> None:
    """The exporter does not trust the converter: it loads and runs the result."""
    install_converter("mkdir out; echo 'no model' > out/model_float32.tflite")
    with pytest.raises(ModelError, match=r"net.tflite: LiteRT cannot load it"):
        build_artifacts(graph.finish(net()), stem="net", formats=["tflite"], precisions=["fp32"])


@pytest.mark.export
def test_all_four_artifacts_agree_with_the_graph_and_are_deterministic() -> None:
    model, inputs = graph.finish(net()), tensors()
    built = [build_artifacts(model, stem="net", calibration=inputs, **BOTH) for _ in range(2)]
    assert built[0] == built[1]
    assert [(each.file, each.precision, each.layout, each.dtype) for each in built[0]] == [
        ("net.onnx", "fp32", None, None),
        ("net.int8.onnx", "int8", None, None),
        ("net.tflite", "fp32", "nhwc", None),
        ("net.int8.tflite", "int8", "nhwc", "int8"),
    ]
    for artifact, content in built[0].items():
        limit = 1e-5 if artifact.precision == "fp32" else 0.15
        assert max_error(content, artifact, inputs) < limit, artifact.file
    assert b"/tmp" not in b"".join(built[0].values())


@pytest.mark.export
def test_float_nodes_at_the_ends_keep_float_inputs_and_outputs_in_tensorflow_lite() -> None:
    model, inputs = graph.finish(net()), tensors()
    options: dict[str, Any] = {"formats": ["tflite"], "precisions": ["int8"], "stem": "net"}
    ((kept, _),) = build_artifacts(
        model, calibration=inputs, float_nodes=["Conv_0", "y", "z"], **options
    ).items()
    assert kept.dtype is None
    ((first, content),) = build_artifacts(
        model, calibration=inputs, float_nodes=["Conv_0"], **options
    ).items()
    assert first.dtype is None
    assert max_error(content, first, inputs) < 0.15
    ((convs, _),) = build_artifacts(
        model, calibration=inputs, int8_operators=["Conv"], **options
    ).items()
    assert convs.precision == "int8"
    with pytest.raises(ModelError, match="no rule for Sigmoid"):
        build_artifacts(model, calibration=inputs, int8_operators=["Sigmoid"], **options)


def test_renaming_outputs_keeps_constants_stored_after_the_packed_model() -> None:
    content = (find_model("retinaface-320x192") / "retinaface.int8.tflite").read_bytes()
    buffers = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).buffers
    assert any(buffer.offset for buffer in buffers)
    renamed = tflite.with_output_names(content, content.replace(b"scores", b"shares"))
    one, other = (open_session("litert", each, 1) for each in (content, renamed))
    assert other.outputs == frozenset({"boxes", "shares", "landmarks"})
    tensor = RANDOM.normal(0, 1, next(iter(one.inputs.values()))[0]).astype(np.float32)
    outputs, known = other.run(tensor), one.run(tensor)
    np.testing.assert_array_equal(outputs["shares"], known["scores"])
    np.testing.assert_array_equal(outputs["boxes"], known["boxes"])
