"""CenterFace graphs as converters leave them: other floats, scaling inside, no last sigmoid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, load_manifest, open_network
from edge.vision.resize import resize_linear
from exporters.artifacts import graph
from exporters.centerface.graph import CenterFaceGraph
from exporters.cli import main
from tests.support.command_errors import refusal
from tests.support.onnx_forms import Change, as_type, front

PUBLISHED = Path(__file__).parents[3] / "models" / "centerface-published" / "centerface.onnx"
SIZE = (320, 192)
IN, HEATMAP = "input.1", "537"


def first_kernel(model: Any, change: Callable[[Any], Any]) -> None:
    """Change the weights of the first convolution, (32, 3, 3, 3)."""
    weight = next(each for each in model.graph.initializer if list(each.dims) == [32, 3, 3, 3])
    values = change(numpy_helper.to_array(weight)).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def no_sigmoid(model: Any) -> None:
    (last,) = (node for node in model.graph.node if node.op_type == "Sigmoid")
    (before,) = (node for node in model.graph.node if last.input[0] in node.output)
    before.output[0] = HEATMAP
    model.graph.node.remove(last)


def unit(model: Any) -> None:
    first_kernel(model, lambda values: values * 255)
    front(model, IN, ("Div", [np.float32(255)], {}))


def times_reciprocal(model: Any) -> None:
    first_kernel(model, lambda values: values * 255)
    front(
        model, IN, ("Identity", [], {}), ("Mul", [np.full((1, 1, 1, 1), 1 / 255, np.float32)], {})
    )


def back_again(model: Any) -> None:
    """Take a mean and a deviation of each channel off, and put them on again."""
    mean, std = (
        np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ([124, 116, 104], [58, 57, 60])
    )
    front(
        model, IN, ("Sub", [mean], {}), ("Div", [std], {}), ("Mul", [std], {}), ("Add", [mean], {})
    )


def shifted(model: Any) -> None:
    """x - 10: what a network trained on other values would get; another network, in fact."""
    front(model, IN, ("Sub", [np.float32(10)], {}))


def bytes_in(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    front(model, IN, ("Cast", [], {"to": TensorProto.FLOAT}))


def bytes_to_unit(model: Any) -> None:
    unit(model)
    bytes_in(model)


def rows_scaled(model: Any) -> None:
    """Bytes, pixel by pixel, scaled before they are transposed: what tf2onnx leaves."""
    first_kernel(model, lambda values: values * 255)
    rows_in(model)
    front(model, IN, ("Sub", [np.zeros(3, np.float32)], {}), ("Div", [np.float32(255)], {}))
    bytes_in(model)


def rows_in(model: Any) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, value in zip(dims, (1, 32, 32, 3), strict=True):
        dim.dim_value = value
    front(model, IN, ("Transpose", [], {"perm": [0, 3, 1, 2]}))


def constants_as_nodes(model: Any) -> None:
    unit(model)
    for weight in list(model.graph.initializer):
        node = helper.make_node("Constant", [], [weight.name], value=weight)
        model.graph.node.insert(0, node)
    del model.graph.initializer[:]


def both(one: Change, other: Change) -> Change:
    def change(model: Any) -> None:
        one(model)
        other(model)

    return change


half = as_type(TensorProto.FLOAT16)
half_inside = as_type(TensorProto.FLOAT16, inside_only=True)

FORMS: dict[str, tuple[Change, float]] = {
    "without the last sigmoid": (no_sigmoid, 1e-3),
    "x / 255 inside": (unit, 1e-3),
    "x * (1 / 255) inside": (times_reciprocal, 1e-3),
    "mean and deviation of each channel": (back_again, 2e-3),
    "bytes cast to float": (bytes_in, 1e-3),
    "bytes to 0..1": (bytes_to_unit, 1e-3),
    "pixel by pixel (NHWC)": (rows_in, 1e-3),
    "pixel by pixel, scaled before the transposition": (rows_scaled, 1e-3),
    "constants as nodes": (constants_as_nodes, 1e-3),
    "float16": (half, 0.1),
    "float16 inside": (half_inside, 0.1),
    "bfloat16": (as_type(TensorProto.BFLOAT16), 0.6),
    "float64": (as_type(TensorProto.DOUBLE), 1e-3),
    "float16 without sigmoid": (both(no_sigmoid, half), 0.1),
    "float16 inside, x / 255, without sigmoid": (both(both(no_sigmoid, unit), half_inside), 0.1),
}
"""Form -> how far its maps may be from those of the published graph on a picture of a face."""


def changed(folder: Path, change: Change) -> Path:
    model = onnx.load(PUBLISHED)
    graph.drop_overridable_weights(model)
    change(model)
    del model.graph.value_info[:]
    path = folder / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_finds_what_the_published_graph_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, mono: bool
) -> None:
    change, far = FORMS[form]
    command = ["centerface", "--weights", str(changed(tmp_path, change)), "--size", "320x192"]
    out = tmp_path / "net"
    assert main([*command, "--out", str(out), *(["--mono"] if mono else [])]) == 0, (
        capsys.readouterr()
    )
    manifest = load_manifest(out)
    assert manifest.input.shape == (1, 1 if mono else 3, 192, 320)
    assert manifest.input.value_range == (0.0, 255.0)
    picture = resize_linear(golden_picture()[0], SIZE)
    known = open_network("centerface-320x192", task="face-detection", artifact="centerface.onnx")
    seen = open_network(out, task="face-detection").run(picture[None])
    for role, values in known.run(picture[None]).items():
        np.testing.assert_allclose(seen[role], values, rtol=far, atol=far)


def test_a_graph_as_published_is_exported_as_before(tmp_path: Path) -> None:
    """The bundled artifacts come from it: nothing may be folded that was not before."""
    assert (
        main(["centerface", "--weights", str(PUBLISHED), "--mono", "--out", str(tmp_path / "n")])
        == 0
    )
    made = (tmp_path / "n" / "centerface.onnx").read_bytes()
    assert made == (find_model("centerface-320x192") / "centerface.onnx").read_bytes()


def test_a_score_needs_no_second_sigmoid() -> None:
    assert not CenterFaceGraph(PUBLISHED, SIZE).logits


def reordered_channels(model: Any) -> None:
    front(model, IN, ("Gather", [np.array([2, 1, 0])], {"axis": 1}))


def bytes_in_a_convolution(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def not_finite(model: Any) -> None:
    first_kernel(model, lambda values: values * np.nan)


def to_unit_outside(model: Any) -> None:
    first_kernel(model, lambda values: values * 255)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (reordered_channels, "input.1 goes into Gather; expected one convolution, with nothing"),
        (
            bytes_in_a_convolution,
            "input.1 is uint8 and goes into Conv; expected float32, or a Cast",
        ),
        (not_finite, "its heatmap is not finite"),
        (to_unit_outside, "if it expects other values than 0 to 255"),
        (shifted, None),
    ],
)
def test_what_is_not_taken_is_refused_by_name(
    tmp_path: Path, change: Change, complaint: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net"
    command = ["centerface", "--weights", str(changed(tmp_path, change)), "--mono"]
    command += ["--out", str(out)]
    if complaint is None:
        assert main(command) == 0
        return
    assert complaint in refusal(main, command, capsys)
    assert not out.exists()
