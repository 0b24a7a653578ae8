"""Small expression networks in ONNX with any layout and heads, and functions to run them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.vision.inference import Network, open_network, verify
from edge.vision.inference.manifest import Recalibration
from edge.vision.inference.runtimes import OnnxSession
from edge.vocabulary import EXPRESSIONS
from exporters.expression.export import export_expression
from exporters.expression.original import ExpressionOptions

MODELS = Path(__file__).parents[2] / "models"
OURS = MODELS / "expression-nir" / "expression.onnx"
PUBLISHED = MODELS / "centerface-published" / "centerface.onnx"

EFFICIENT = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Order of classes of HSEmotion's EfficientNet-B0 networks, in the names of this project."""


class Net:
    """Builder of an ONNX graph: input layout, one convolution, pooling, heads."""

    def __init__(self, channels: int = 3, size: int = 24, layout: str = "nchw", pads: int = 1):
        self.random = np.random.default_rng(77)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.outputs: list[Any] = []
        self.channels, self.layout, self.pads = channels, layout, pads
        sides: list[Any] = [size, size]
        self.shape = [1, channels, *sides] if layout == "nchw" else ["batch", *sides, channels]
        self.last = "picture"
        if layout == "nhwc":
            self.add("Transpose", [], perm=[0, 3, 1, 2])

    def add(self, kind: str, constants: Sequence[Any], **settings: Any) -> "Net":
        """Append a node; ``constants`` are its further inputs."""
        output = f"{kind}_{len(self.nodes)}".lower()
        names = [self.last]
        for index, values in enumerate(constants):
            names.append(f"{output}.{index}")
            array = np.asarray(values)
            array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
            self.weights.append(numpy_helper.from_array(array, names[-1]))
        self.nodes.append(helper.make_node(kind, names, [output], **settings))
        self.last = output
        return self

    def body(self) -> "Net":
        """Append a convolution and global average pooling: 12 features."""
        draw = self.random.normal
        self.add("Conv", [draw(0, 0.5, (12, self.channels, 3, 3)), draw(0, 0.3, 12)],
                 strides=[2, 2], pads=[self.pads] * 4)  # fmt: skip
        self.add("Relu", [])
        self.add("GlobalAveragePool", [])
        return self.add("Flatten", [])

    def head(self, name: str, count: int, *after: str) -> "Net":
        """Append a linear head on the features, and the activations ``after`` it."""
        features = self.last
        self.add("Gemm", [self.random.normal(0, 2, (12, count)), self.random.normal(0, 1, count)])
        for kind in after:
            self.add(kind, [])
        self.nodes[-1].output[0] = name
        self.outputs.append(name)
        self.last = features
        return self

    def model(self, **metadata: str) -> Any:
        """Return the finished model."""
        made = helper.make_model(
            helper.make_graph(
                self.nodes,
                "net",
                [helper.make_tensor_value_info("picture", TensorProto.FLOAT, self.shape)],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                 for name in self.outputs],
                self.weights,
            ),
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=8,
        )  # fmt: skip
        for key, value in metadata.items():
            entry = made.metadata_props.add()
            entry.key, entry.value = key, value
        return made

    def save(self, folder: Path, **metadata: str) -> Path:
        path = folder / "net.onnx"
        onnx.save(self.model(**metadata), path)
        return path


def two_heads(**shape: Any) -> Net:
    net = Net(**shape).body()
    return net.head("classifier", 8, "Softmax").head("regressor", 2, "Sigmoid")


def classifier_folder(folder: Path) -> Path:
    """Export a classifier of seven expressions, with a recalibration; return the model folder."""
    offsets = tuple(0.1 * place for place in range(len(EXPRESSIONS)))
    mixing = tuple(tuple(0.02 * ((row + 2 * place) % 5) for place in range(8)) for row in range(8))
    options = ExpressionOptions(
        any_network=True,
        network="hsemotion",
        labels=(),
        recalibration=Recalibration(
            fitted_on="nothing", samples=1, temperature=1.3, offsets=offsets, mixing=mixing
        ),
    )
    weights = Net(size=24).body().head("scores", 7).save(folder)
    export_expression(weights, folder / "classifier", overrides=options)
    return folder / "classifier"


def run_original(model: Any, tensor: Any, names: Sequence[str]) -> list[Any]:
    outputs = OnnxSession(model.SerializeToString(), 1).run(tensor.astype(np.float32))
    return [outputs[name] for name in names]


def thesis_input(picture: Any, channels: int, layout: str) -> Any:
    """Preprocess as in Kalabis 2024: x / 127.5 minus the mean of the picture; equal channels."""
    values = picture.astype(np.float64) / 127.5
    values = values - values.mean()
    planes = np.repeat(values[None], channels, axis=0)[None]
    return planes if layout == "nchw" else planes.transpose(0, 2, 3, 1)


def exported(folder: Path, name: str = "net") -> Network:
    assert verify(folder / name) == []
    return open_network(folder / name, task="facial-expression")
