"""The original generator from a PyTorch or ONNX file: runs it unchanged, and converts it."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edge.validation import file_errors, prefixed
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.translate.cyclegan import luma_of
from edge.vision.values import Floats, Luma
from exporters.artifacts import graph
from exporters.cyclegan.checkpoint import is_checkpoint, read_state
from exporters.cyclegan.layout import INPUT, OUTPUT, build, read_layout, with_block_names
from exporters.cyclegan.onnx_source import read_generator
from exporters.cyclegan.upsampling import rewrite_transposed


class Original:
    """A generator for pictures of one size, the reference for its artifacts.

    Attributes:
        input: name of the input tensor.
        output: name of the output tensor.
        channels: of the input, 1 or 3.
        sha256: of the file.
        options: what the manifest records about the file.
    """

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        """Read ``weights``, a PyTorch state dict or ONNX, as its first bytes say.

        Raises:
            ModelError: the file is neither, is damaged, or holds another network; one line.
        """
        self._size = size
        with file_errors("--weights", weights, expected="latest_net_G*.pth or an ONNX file"):
            content = weights.read_bytes()
        self.options: dict[str, str | int | float | bool] = {"from": "onnx"}
        if is_checkpoint(content):
            self.input, self.output = INPUT, OUTPUT
            self.sha256 = hashlib.sha256(content).hexdigest()
            self._model = self._built(weights, content)
        else:
            found = read_generator(weights, size)
            self.input, self.output, self.channels = found.input, found.output, found.channels
            self._model, self.sha256 = found.model, found.sha256
        with prefixed(f"--weights {weights}"):
            self._session = OnnxSession(graph.finish(self._model), 1)

    def _built(self, weights: Path, content: bytes) -> Any:
        state = with_block_names(read_state(weights, content))
        with prefixed(f"--weights {weights}"):
            layout = read_layout(state)
        self.channels = layout.input_channels
        self.options = {
            "from": "pytorch",
            "blocks": layout.blocks,
            "filters": layout.filters,
            "norm": layout.norm,
        }
        return build(state, layout, self._size)

    def picture(self, face: Luma) -> Floats:
        """Run the generator on a mono picture, repeated in all input channels.

        Args:
            face: uint8 (height, width) of the generator's size.

        Returns:
            float32 (1, channels, height, width), -1..1.

        Raises:
            InferenceError: the runtime failed.
        """
        values = face.astype(np.float32)[None, None] / np.float32(127.5) - np.float32(1)
        return self._session.run(np.repeat(values, self.channels, axis=1))[self.output]

    def luma(self, face: Luma) -> Luma:
        """Return the luma of ``picture``, uint8 (height, width)."""
        return luma_of(self.picture(face)[0])

    def converted(self, *, mono: bool) -> bytes:
        """Return the graph of the artifacts: the same function with simpler operators.

        Raises:
            ModelError: ``mono``, and the input does not go into one convolution.
        """
        model = copy.deepcopy(self._model)
        graph.fold_batch_norms(model)
        rewrite_transposed(model)
        if mono and self.channels == 3:
            graph.fold_to_mono(model, _after_padding(model, self.input))
            graph.fix_shapes(model, {self.input: (1, 1, *self._size[::-1])})
        graph.name_nodes(model)
        return graph.finish(model)


def _after_padding(model: Any, name: str) -> str:
    """Return the input of the first convolution: the tensor ``name``, or its padded form."""
    users = [node for node in model.graph.node if name in node.input]
    if len(users) == 1 and users[0].op_type == "Pad":
        return _after_padding(model, users[0].output[0])
    return name
