"""Running networks: scaling, normalisation, layout, quantisation, activations."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from edge.errors import InferenceError, ModelError
from edge.vision.inference import Network, open_network
from edge.vision.inference.network import _apply_activation
from edge.vision.inference.runtimes import open_session, runtime_installed

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Path]
RANDOM = np.random.default_rng(7)
PICTURES = RANDOM.integers(0, 256, (3, 4, 6), np.uint8)


def opened(folder: Path, **options: Any) -> Network:
    return open_network(folder, task="spectrum-translation", **options)


def test_onnxruntime_stores_no_device_id(tmp_path: Path) -> None:
    """By default it writes one in the user's cache folder, and a database of events."""
    model = ROOT / "models/expression-nir/expression.onnx"
    code = (
        "from pathlib import Path; from edge.vision.inference.runtimes import open_session;"
        f"open_session('onnxruntime', Path({str(model)!r}).read_bytes(), 1)"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env={**kept, **home}, cwd=ROOT, check=True)
    assert list(tmp_path.rglob("*")) == []


def normalised(pixels: Any, input_: dict[str, Any]) -> Any:
    """Return the pixels scaled and normalised as the manifest says, float64."""
    low, high = input_.get("value_range", (0, 255))
    x = pixels.astype(np.float64) / 255 * (high - low) + low
    rule = input_.get("normalisation", {"kind": "none"})
    if rule["kind"] == "fixed":
        return (x - rule["mean"]) / rule["std"]
    if rule["kind"] == "per-sample":
        x = x - x.mean()
        return x / (x.std() + rule["epsilon"]) if rule["divide"] else x
    return x


INPUTS: list[dict[str, Any]] = [
    {},
    {"value_range": [0, 1]},
    {"value_range": [-1, 1]},
    {"value_range": [0, 1], "normalisation": {"kind": "fixed", "mean": 0.4, "std": 0.2}},
    {
        "value_range": [0, 1],
        "normalisation": {"kind": "per-sample", "divide": True, "epsilon": 0.05},
    },
    {"value_range": [0, 2], "normalisation": {"kind": "per-sample", "divide": False}},
]


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
def test_input_is_scaled_and_normalised_as_the_manifest_says(
    make_folder: Make,
    onnx_of: Callable[..., bytes],
    tflite_of: Callable[..., bytes],
    input_: dict[str, Any],
    runtime: str,
) -> None:
    shape = (1, 1, 4, 6)
    content = onnx_of(shape) if runtime == "onnx" else tflite_of(shape)
    network = opened(make_folder({f"a.{runtime}": content}, input_=input_))
    output = network.run(PICTURES)["picture"]
    assert output.shape == (3, 1, 4, 6)
    assert output.dtype == np.float32
    for picture, values in zip(PICTURES, output[:, 0], strict=True):
        expected = np.maximum(normalised(picture, input_), 0)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["mono", "rgb"])
def test_layout_and_colour(
    make_folder: Make, onnx_of: Callable[..., bytes], layout: str, colour: str
) -> None:
    channels = 1 if colour == "mono" else 3
    shape = (1, channels, 4, 6) if layout == "nchw" else (1, 4, 6, channels)
    folder = make_folder(
        {"a.onnx": onnx_of(shape)},
        input_={"shape": list(shape), "layout": layout, "colour": colour},
    )
    output = opened(folder).run(PICTURES[:1])["picture"][0]
    planes = output if layout == "nchw" else np.moveaxis(output, 2, 0)
    assert planes.shape == (channels, 4, 6)
    for plane in planes:
        np.testing.assert_array_equal(plane, PICTURES[0])


def test_uint8_input_is_not_converted(make_folder: Make, onnx_of: Callable[..., bytes]) -> None:
    content = onnx_of((1, 1, 4, 6), dtype=TensorProto.UINT8, op="Identity")
    folder = make_folder({"a.onnx": content}, input_={"dtype": "uint8"})
    np.testing.assert_array_equal(opened(folder).run(PICTURES)["picture"][:, 0], PICTURES)


@pytest.mark.parametrize(
    ("name", "scale", "zero"),
    [("int8", 1.0, -128), ("uint8", 1.0, 0), ("int8", 0.9997, -128), ("int8", 0.5, -10)],
)
def test_quantised_tensors_are_converted_at_input_and_output(
    make_folder: Make, tflite_of: Callable[..., bytes], name: str, scale: float, zero: int
) -> None:
    dtype = schema.TensorType.INT8 if name == "int8" else schema.TensorType.UINT8
    content = tflite_of((1, 1, 4, 6), dtype, scale, zero)
    network = opened(make_folder({"a.tflite": content}, input_={"dtype": name}))
    output = network.run(PICTURES)["picture"][:, 0]
    bounds = np.iinfo(name)
    steps = np.clip(np.rint(PICTURES / np.float32(scale)) + zero, bounds.min, bounds.max)
    expected = np.maximum((steps - zero) * scale, 0)
    np.testing.assert_allclose(output, expected, atol=scale * 1.01)
    assert np.abs(output - np.minimum(PICTURES, expected.max())).max() <= scale * 1.01


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_damaged_model_is_refused_in_one_line(
    runtime: str, tiny: bytes, tflite_of: Callable[..., bytes]
) -> None:
    good = tiny if runtime == "onnxruntime" else tflite_of((1, 1, 4, 6))
    for content in (good[: len(good) // 2], b"\x00" * 100, good[:8] + b"\xff" * 200):
        with pytest.raises(ModelError) as caught:
            open_session(runtime, content, 1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_tensor_of_another_shape_is_an_inference_error(
    runtime: str, tiny: bytes, tflite_of: Callable[..., bytes]
) -> None:
    content = tiny if runtime == "onnxruntime" else tflite_of((1, 1, 4, 6))
    with pytest.raises(InferenceError) as caught:
        open_session(runtime, content, 1).run(np.zeros((1, 1, 3, 3), np.float32))
    assert "\n" not in str(caught.value)


def test_missing_runtime_is_named_with_its_extra(
    make_folder: Make, tflite_of: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({"a.tflite": tflite_of((1, 1, 4, 6))})
    for module in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModelError, match=r"affect-edge\[litert\]"):
        opened(folder, artifact="a.tflite")


def test_tflite_runtime_with_numpy_2_is_refused_and_not_counted_as_installed(
    make_folder: Make, tflite_of: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing it works with NumPy 2; loading the first model fails."""
    folder = make_folder({"a.tflite": tflite_of((1, 1, 4, 6))})
    for module in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    monkeypatch.setattr(
        "edge.vision.inference.runtimes.find_spec",
        lambda name: object() if name == "tflite_runtime" else None,
    )
    assert not runtime_installed("litert")
    with pytest.raises(ModelError, match="tflite-runtime works with NumPy 1 only, this is 2"):
        opened(folder, artifact="a.tflite")


def test_auto_skips_artifacts_without_a_runtime(
    make_folder: Make, tiny: bytes, tflite_of: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({"a.tflite": tflite_of((1, 1, 4, 6)), "b.onnx": tiny})
    for installed, chosen in (("litert", "a.tflite"), ("onnxruntime", "b.onnx")):
        monkeypatch.setattr(
            "edge.vision.inference.opening.runtime_installed",
            lambda name, installed=installed: name == installed,
        )
        assert opened(folder).info.artifact == chosen
    monkeypatch.setattr("edge.vision.inference.opening.runtime_installed", lambda name: False)
    with pytest.raises(ModelError, match="needs litert or onnxruntime, which is not installed"):
        opened(folder)


def test_installed_runtimes_are_detected() -> None:
    assert runtime_installed("onnxruntime")
    assert runtime_installed("litert")


def test_output_that_is_not_finite_is_an_inference_error(
    make_folder: Make, onnx_of: Callable[..., bytes]
) -> None:
    network = opened(make_folder({"a.onnx": onnx_of((1, 1, 4, 6), op="Log")}))
    assert np.isfinite(network.run(np.full((1, 4, 6), 9, np.uint8))["picture"]).all()
    with pytest.raises(InferenceError, match="tiny: output picture is not finite"):
        network.run(np.zeros((1, 4, 6), np.uint8))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((0, 4, 6), np.uint8),
        np.zeros((1, 6, 4), np.uint8),
        np.zeros((1, 4, 6), np.float32),
        np.zeros((1, 4, 6, 3), np.uint8),
    ],
)
def test_invalid_batch_is_a_value_error(make_folder: Make, tiny: bytes, batch: Any) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        opened(make_folder({"a.onnx": tiny})).run(batch)


def test_network_with_two_inputs_is_refused(make_folder: Make) -> None:
    values = [helper.make_tensor_value_info(name, 1, (1, 1, 4, 6)) for name in ("in", "b", "out")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["in", "b"], ["out"])], "two", values[:2], values[2:]
    )
    content = helper.make_model(graph, ir_version=8).SerializeToString()
    with pytest.raises(ModelError, match=r"has the inputs \['b', 'in'\]"):
        opened(make_folder({"a.onnx": content}))


def test_output_does_not_depend_on_batch_or_repetition() -> None:
    network = open_network("expression-nir", task="facial-expression", artifact="expression.onnx")
    pictures = RANDOM.integers(0, 256, (3, 48, 48), np.uint8)
    together, again = network.run(pictures), network.run(pictures)
    for role in ("expression", "affect"):
        np.testing.assert_array_equal(together[role], again[role])
        alone = np.concatenate([network.run(picture[None])[role] for picture in pictures])
        np.testing.assert_array_equal(together[role], alone)


def test_output_does_not_depend_on_threads() -> None:
    picture = RANDOM.integers(0, 256, (1, 192, 320), np.uint8)
    one, two = (
        open_network(
            "centerface-320x192", task="face-detection", artifact="centerface.onnx", threads=threads
        ).run(picture)
        for threads in (1, 2)
    )
    for role, values in one.items():
        np.testing.assert_allclose(values, two[role], rtol=1e-4, atol=1e-4)


@settings(max_examples=100)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 9)),
        elements=st.floats(-1e4, 1e4, width=32),
    )
)
def test_activations_are_exact_for_any_logits(logits: Any) -> None:
    shares = _apply_activation(logits, "softmax")
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert ((shares >= 0) & (shares <= 1)).all()
    exact = np.array(
        [[1 / (1 + np.exp(-min(max(float(x), -700), 700))) for x in row] for row in logits]
    )
    np.testing.assert_allclose(_apply_activation(logits, "sigmoid"), exact, atol=1e-6)
    assert _apply_activation(logits, "none") is logits
