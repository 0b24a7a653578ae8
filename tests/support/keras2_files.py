"""Files as Keras 2 writes them, and a reference implementation of the networks in NumPy.

Keras is not needed. ``mobilenet_fer`` returns the architecture of ``applications.MobileNet`` with
two heads in the JSON of Keras 2.15. ``write`` stores arrays in HDF5 as ``model.save("x.h5")`` and
``save_weights("x.hdf5")`` do. ``predict`` computes the outputs in float64 on maps of (height,
width, channels), with a loop over the kernel and without code of the exporters.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from numpy.typing import NDArray

from edge.vision.inference.runtimes import OnnxSession

Arrays = dict[str, dict[str, NDArray[np.float32]]]
"""Layer -> kind -> array."""

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)) + ((512, 1),) * 5 + (
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Filters and stride of MobileNet's thirteen depthwise-separable blocks."""


def layer(kind: str, name: str, before: list[str], **config: Any) -> dict[str, Any]:
    """Return an entry of ``layers`` whose inputs are the layers ``before``."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": [[[each, 0, 0, {}] for each in before]] if before else [],
    }


def inputs(name: str, height: int | None, width: int | None, channels: int) -> dict[str, Any]:
    return {
        "class_name": "InputLayer",
        "config": {
            "batch_input_shape": [None, height, width, channels],
            "dtype": "float32",
            "sparse": False,
            "ragged": False,
            "name": name,
        },
        "name": name,
        "inbound_nodes": [],
    }


def conv(name: str, before: str, filters: int, size: int, stride: int, **more: Any) -> Any:
    return layer(
        "Conv2D", name, [before], **{
            "filters": filters, "kernel_size": [size, size], "strides": [stride, stride],
            "padding": "same", "data_format": "channels_last", "dilation_rate": [1, 1],
            "groups": 1, "activation": "linear", "use_bias": False,
            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
            "bias_initializer": {"class_name": "Zeros", "config": {}}, **more,
        },
    )  # fmt: skip


def depthwise(name: str, before: str, stride: int, padding: str, **more: Any) -> Any:
    return layer(
        "DepthwiseConv2D", name, [before], **{
            "kernel_size": [3, 3], "strides": [stride, stride], "padding": padding,
            "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1,
            "activation": "linear", "use_bias": False, "depth_multiplier": 1, **more,
        },
    )  # fmt: skip


def norm(name: str, before: str, **more: Any) -> Any:
    return layer(
        "BatchNormalization", name, [before], **{
            "axis": [3], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True, **more
        },
    )  # fmt: skip


def relu(name: str, before: str) -> Any:
    return layer("ReLU", name, [before], max_value=6.0, negative_slope=0.0, threshold=0.0)


def pad(name: str, before: str, padding: list[list[int]]) -> Any:
    return layer("ZeroPadding2D", name, [before], padding=padding, data_format="channels_last")


def dense(name: str, before: str, units: int, activation: str, **more: Any) -> Any:
    return layer("Dense", name, [before], units=units, activation=activation, use_bias=True, **more)


def backbone(
    height: int | None, width: int | None, channels: int, alpha: float, *, blocks: int = 13
) -> dict[str, Any]:
    """Return ``applications.MobileNet(include_top=False)``, or its first ``blocks`` blocks."""
    wide = int(32 * alpha)
    layers = [
        inputs("input_1", height, width, channels),
        pad("conv1_pad", "input_1", [[0, 1], [0, 1]]),
        conv("conv1", "conv1_pad", wide, 3, 2, padding="valid"),
        norm("conv1_bn", "conv1"),
        relu("conv1_relu", "conv1_bn"),
    ]
    last = "conv1_relu"
    for index, (filters, stride) in enumerate(BLOCKS[:blocks], 1):
        if stride == 2:
            layers.append(pad(f"conv_pad_{index}", last, [[0, 1], [0, 1]]))
            last = f"conv_pad_{index}"
        layers += [
            depthwise(f"conv_dw_{index}", last, stride, "same" if stride == 1 else "valid"),
            norm(f"conv_dw_{index}_bn", f"conv_dw_{index}"),
            relu(f"conv_dw_{index}_relu", f"conv_dw_{index}_bn"),
            conv(f"conv_pw_{index}", f"conv_dw_{index}_relu", int(filters * alpha), 1, 1),
            norm(f"conv_pw_{index}_bn", f"conv_pw_{index}"),
            relu(f"conv_pw_{index}_relu", f"conv_pw_{index}_bn"),
        ]
        last = f"conv_pw_{index}_relu"
    return model(f"mobilenet_{alpha:.2f}_{width}", layers, [last])


def model(name: str, layers: list[Any], outputs: list[str]) -> dict[str, Any]:
    """Return a Functional model, outermost or nested, as ``to_json`` writes it."""
    return {
        "class_name": "Functional",
        "config": {
            "name": name,
            "trainable": True,
            "layers": layers,
            "input_layers": [[layers[0]["name"], 0, 0]],
            "output_layers": [[each, 0, 0] for each in outputs],
        },
        "keras_version": "2.15.0",
        "backend": "tensorflow",
    }


def small_network(layers: list[Any], height: int = 9, width: int = 12, channels: int = 3) -> Any:
    """Return a model named ``small`` with these layers behind its input."""
    return model("small", [inputs("input_1", height, width, channels), *layers], [
        layers[-1]["name"]
    ])  # fmt: skip


def mobilenet_fer(
    size: int | None, alpha: float, *, channels: int = 3, blocks: int = 13, width: int | None = None
) -> dict[str, Any]:
    """Return the network of Kalabis 2024: norm, MobileNet, norm, pooling, dropout, two heads."""
    inner = backbone(size, width or size, channels, alpha, blocks=blocks)
    nested = {
        **{key: inner[key] for key in ("class_name", "config")},
        "name": inner["config"]["name"],
        # the creation of the sub-model counts as call 0, so this is call 1
        "inbound_nodes": [[["batch_normalization", 0, 0, {}]]],
    }
    after = norm("batch_normalization_1", nested["name"])
    after["inbound_nodes"] = [[[nested["name"], 1, 0, {}]]]
    return model(
        "hybrid_one",
        [
            inputs("input_2", size, width or size, channels),
            norm("batch_normalization", "input_2"),
            nested,
            after,
            layer("GlobalAveragePooling2D", "global_average_pooling2d", ["batch_normalization_1"],
                  data_format="channels_last", keepdims=False),
            layer("Dropout", "dropout", ["global_average_pooling2d"], rate=0.5, seed=None),
            dense("classifier", "dropout", 8, "softmax"),
            dense("regressor", "dropout", 2, "sigmoid"),
        ],
        ["classifier", "regressor"],
    )  # fmt: skip


def random_arrays(architecture: dict[str, Any], seed: int, shape: tuple[int, ...]) -> Arrays:
    """Return random weights of every layer, scaled so that maps keep their magnitude."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}

    def visit(part: dict[str, Any], channels: dict[str, int], count: int) -> int:
        for each in part["config"]["layers"]:
            name, config, kind = each["name"], each["config"], each["class_name"]
            nodes = each["inbound_nodes"]
            before = channels[nodes[0][0][0]] if nodes else count
            after = before
            if kind == "Functional":
                after = visit(each, {}, before)
            elif kind == "Conv2D":
                after = config["filters"]
                size = (*config["kernel_size"], before // config["groups"], after)
                kernel = random.normal(0, np.sqrt(2 / np.prod(size[:3])), size)
                arrays[name] = {"kernel": kernel.astype(np.float32)}
            elif kind == "DepthwiseConv2D":
                after = before * config["depth_multiplier"]
                size = (*config["kernel_size"], before, config["depth_multiplier"])
                kernel = random.normal(0, 0.47, size)
                arrays[name] = {"depthwise_kernel": kernel.astype(np.float32)}
            elif kind == "Dense":
                after = config["units"]
                kernel = random.normal(0, np.sqrt(4 / before), (before, after))
                arrays[name] = {"kernel": kernel.astype(np.float32)}
            elif kind == "BatchNormalization":
                arrays[name] = {
                    "gamma": random.uniform(0.8, 1.5, before).astype(np.float32),
                    "beta": random.normal(0, 0.3, before).astype(np.float32),
                    "moving_mean": random.normal(0, 0.3, before).astype(np.float32),
                    "moving_variance": random.uniform(0.5, 1.5, before).astype(np.float32),
                }
                if not config["scale"]:
                    del arrays[name]["gamma"]
                if not config["center"]:
                    del arrays[name]["beta"]
            elif kind in ("Flatten", "Reshape"):
                after = int(config["channels"])
            if config.get("use_bias"):
                arrays[name]["bias"] = random.normal(0, 0.3, after).astype(np.float32)
            channels[name] = after
        return channels[part["config"]["output_layers"][0][0]]

    visit(architecture, {}, shape[-1])
    return arrays


def write(
    path: Path,
    architecture: dict[str, Any],
    arrays: Arrays,
    *,
    whole: bool = True,
    fixed_text: bool = False,
    split_names: bool = False,
) -> Path:
    """Write ``arrays`` as Keras 2 does, with the architecture if ``whole``; return ``path``.

    ``fixed_text``: names are byte strings of fixed length, as earlier h5py wrote them.
    ``split_names``: names are split over several attributes, as Keras does above 64 KiB.
    """

    def names(group: Any, attribute: str, values: list[str]) -> None:
        if not values:
            group.attrs[attribute] = np.zeros(0)  # numpy's own choice for an empty list
        elif split_names:
            for index, part in enumerate(np.array_split(np.array(values, "S"), 2)):
                group.attrs[f"{attribute}{index}"] = part
        elif fixed_text:
            group.attrs[attribute] = np.array(values, "S")
        else:
            group.attrs[attribute] = values

    def owners(part: dict[str, Any]) -> list[str]:
        found = []
        for each in part["config"]["layers"]:
            if each["class_name"] == "Functional":
                found += owners(each)
            elif each["name"] in arrays:
                found.append(each["name"])
        return found

    with h5py.File(path, "w") as file:
        stored = file.create_group("model_weights") if whole else file
        for where in {file, stored}:
            where.attrs["keras_version"] = b"2.15.0" if fixed_text else "2.15.0"
            where.attrs["backend"] = b"tensorflow" if fixed_text else "tensorflow"
        if whole:
            config = {key: architecture[key] for key in ("class_name", "config")}
            file.attrs["model_config"] = json.dumps(config)
            file.create_group("optimizer_weights").attrs["weight_names"] = np.zeros(0)
        layers = architecture["config"]["layers"]
        names(stored, "layer_names", [each["name"] for each in layers])
        stored.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        for each in layers:
            group = stored.create_group(each["name"])
            names_of_owners = owners(each) if each["class_name"] == "Functional" else [each["name"]]
            # trainable weights of all layers of the group come first
            found = [
                (f"{owner}/{kind}:0", values)
                for moving in (False, True)
                for owner in names_of_owners
                for kind, values in arrays.get(owner, {}).items()
                if kind.startswith("moving") is moving
            ]
            names(group, "weight_names", [name for name, _ in found])
            for name, values in found:
                group.create_dataset(name, data=values)
    return path


def predict(
    architecture: dict[str, Any], arrays: Arrays, picture: NDArray[Any]
) -> list[NDArray[np.float64]]:
    """Return the outputs for one picture of (height, width, channels)."""
    maps: dict[str, NDArray[np.float64]] = {}
    for each in architecture["config"]["layers"]:
        nodes = each["inbound_nodes"]
        before = [maps[reference[0]] for reference in nodes[0]] if nodes else [picture]
        if each["class_name"] == "Functional":
            (maps[each["name"]],) = predict(each, arrays, before[0])
        else:
            maps[each["name"]] = _layer(each, arrays.get(each["name"], {}), before)
    return [maps[reference[0]] for reference in architecture["config"]["output_layers"]]


def _layer(
    entry: dict[str, Any], arrays: dict[str, Any], before: list[NDArray[Any]]
) -> NDArray[np.float64]:
    config, x = entry["config"], before[0].astype(np.float64)
    kinds: dict[str, Callable[[], Any]] = {
        "Conv2D": lambda: _convolved("Conv2D", config, arrays, x),
        "DepthwiseConv2D": lambda: _convolved("DepthwiseConv2D", config, arrays, x),
        "BatchNormalization": lambda: _normalised(config, arrays, x),
        "ReLU": lambda: np.clip(x, 0, config["max_value"]),
        "ZeroPadding2D": lambda: np.pad(x, [*config["padding"], [0, 0]]),
        "GlobalAveragePooling2D": lambda: x.mean(axis=(0, 1), keepdims=config["keepdims"]),
        "Dense": lambda: x @ arrays["kernel"].astype(np.float64) + arrays.get("bias", 0),
        "Flatten": lambda: x.reshape(-1),
        "Reshape": lambda: x.reshape(config["target_shape"]),
        "Add": lambda: sum(each.astype(np.float64) for each in before),
        "InputLayer": lambda: x,
        "Dropout": lambda: x,
        "Activation": lambda: x,
    }
    output: NDArray[np.float64] = kinds[entry["class_name"]]()
    return _activated(config.get("activation", "linear"), output)


def _normalised(
    config: dict[str, Any], arrays: dict[str, Any], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    spread = np.sqrt(arrays["moving_variance"].astype(np.float64) + config["epsilon"])
    x = (x - arrays["moving_mean"]) / spread
    return x * arrays.get("gamma", 1) + arrays.get("beta", 0)


def _activated(activation: Any, x: NDArray[np.float64]) -> NDArray[np.float64]:
    match activation["config"] if isinstance(activation, dict) else activation:
        case "softmax":
            x = np.exp(x - x.max())
            x = x / x.sum()
        case "sigmoid":
            x = 1 / (1 + np.exp(-x))
        case "relu":
            x = np.maximum(x, 0)
        case "relu6":
            x = np.clip(x, 0, 6)
        case "tanh":
            x = np.tanh(x)
    return x


def _convolved(
    kind: str, config: dict[str, Any], arrays: dict[str, Any], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    (rows, columns), stride = config["kernel_size"], config["strides"]
    rate = config["dilation_rate"]
    reach = ((rows - 1) * rate[0] + 1, (columns - 1) * rate[1] + 1)
    if config["padding"] == "same":
        around = []
        for axis in (0, 1):
            count = -(-x.shape[axis] // stride[axis])
            zeros = max((count - 1) * stride[axis] + reach[axis] - x.shape[axis], 0)
            around.append((zeros // 2, zeros - zeros // 2))
        x = np.pad(x, [*around, (0, 0)])
    height = (x.shape[0] - reach[0]) // stride[0] + 1
    width = (x.shape[1] - reach[1]) // stride[1] + 1
    if kind == "DepthwiseConv2D":
        kernel = arrays["depthwise_kernel"].astype(np.float64)
        filters, groups = kernel.shape[2] * kernel.shape[3], kernel.shape[2]
    else:
        kernel = arrays["kernel"].astype(np.float64)
        filters, groups = kernel.shape[3], config["groups"]
    out = np.zeros((height, width, filters))
    for row in range(rows):
        for column in range(columns):
            top, left = row * rate[0], column * rate[1]
            window = x[top : top + height * stride[0] : stride[0]][:height]
            window = window[:, left : left + width * stride[1] : stride[1]][:, :width]
            if kind == "DepthwiseConv2D":
                out += (window[..., None] * kernel[row, column]).reshape(height, width, filters)
                continue
            for group in range(groups):
                inputs_of = slice(group * x.shape[2] // groups, (group + 1) * x.shape[2] // groups)
                outputs_of = slice(group * filters // groups, (group + 1) * filters // groups)
                out[..., outputs_of] += window[..., inputs_of] @ kernel[row, column][:, outputs_of]
    return out + arrays.get("bias", 0)


def run_graph(converted: Any, picture: Any) -> list[Any]:
    """Run an ONNX graph on a picture of (height, width, channels); return its outputs."""
    onnx.checker.check_model(converted, full_check=True)
    names = [value.name for value in converted.graph.output]
    tensor = picture.astype(np.float32).transpose(2, 0, 1)[None]
    outputs = OnnxSession(converted.SerializeToString(), 1).run(tensor)
    return [outputs[name][0] for name in names]


def assert_equal_outputs(converted: Any, network: Any, arrays: Any, picture: Any) -> None:
    """Compare a graph of one output with the reference implementation."""
    (actual,), (expected,) = run_graph(converted, picture), predict(network, arrays, picture)
    if actual.ndim == 3:
        actual = actual.transpose(1, 2, 0)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
