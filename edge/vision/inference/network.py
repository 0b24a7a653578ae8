"""Runs a model's network, independent of runtime, layout, scaling and quantisation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import InferenceError, ModelError
from edge.vision.inference.manifest import (
    Artifact,
    FixedNormalisation,
    Input,
    Manifest,
    PerSampleNormalisation,
)
from edge.vision.inference.runtimes import Session, Tensor
from edge.vision.values import Floats, Luma


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Identity of a loaded network: model, artifact, hash, and input size in pixels."""

    name: str
    artifact: str
    runtime: str
    precision: str
    sha256: str
    width: int
    height: int
    threads: int


class Network:
    """A loaded, verified artifact. Owned by one thread.

    Attributes:
        info: model, artifact and input size.
        manifest: the manifest of its folder.
        session: the runtime's session, to measure inference alone.
        stages: the further networks of a cascade, by name.
    """

    def __init__(
        self,
        manifest: Manifest,
        artifact: Artifact,
        session: Session,
        threads: int,
        stages: Mapping[str, "Network"] | None = None,
    ) -> None:
        self.manifest = manifest
        self.stages = stages or {}
        self._input = manifest.input
        self.info = NetworkInfo(
            name=manifest.name,
            artifact=artifact.file,
            runtime=artifact.runtime,
            precision=artifact.precision,
            sha256=artifact.sha256,
            width=self._input.width,
            height=self._input.height,
            threads=threads,
        )
        self.session = session
        self._layout = artifact.layout or self._input.layout
        self._transposed = self._layout != self._input.layout
        _, dtype = session.inputs[self._input.name]
        # grey levels as they are: the runtime's session converts them while it copies them
        self._takes_bytes = dtype == "float32" and _is_plain(self._input)
        self._takes_bytes |= self._input.dtype == "uint8" and artifact.runtime == "onnxruntime"

    def run(self, batch: Luma) -> dict[str, Floats]:
        """Run the network on a batch; return one array per output role.

        Args:
            batch: mono pictures, uint8 (n, height, width), of the size in ``info``; n at least 1.

        Returns:
            Role -> float32 (n, ...): dequantised, with the manifest's activation applied; finite.

        Raises:
            ValueError: the batch has another shape or type (a programming error).
            InferenceError: the runtime failed, or an output is not finite.
        """
        size = (self.info.height, self.info.width)
        if batch.dtype != np.uint8 or batch.ndim != 3 or batch.shape[1:] != size or not len(batch):
            raise ValueError(
                f"batch of {batch.dtype} {batch.shape}; expected uint8 (n, {size[0]}, {size[1]})"
            )
        return self.run_tensors([self.tensor(picture) for picture in batch])

    def run_tensors(self, tensors: Sequence[Tensor]) -> dict[str, Floats]:
        """Run the network on input tensors, each of the session's shape; see ``run``.

        Raises:
            InferenceError: the runtime failed, or an output is not finite.
        """
        outputs = [self.session.run(tensor) for tensor in tensors]
        roles = {}
        for role, output in self.manifest.outputs.items():
            # artifacts have a batch size of 1: larger ones gained nothing on small networks
            parts = [self._in_manifest_layout(each[output.tensor]) for each in outputs]
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
            # without NumPy's wrapper in Python, which is cold after an inference
            if not np.logical_and.reduce(np.isfinite(values), axis=None):
                raise InferenceError(f"{self.info.name}: output {role} is not finite")
            roles[role] = _apply_activation(values, output.activation)
        return roles

    def warm_up(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, Floats]:
        """Run the network once, on a black picture, and check the shapes of its outputs.

        Args:
            shapes: the output roles that the decoder needs, each with the shapes that it accepts.

        Returns:
            Role -> output, as from ``run``.

        Raises:
            ModelError: an output is missing or has another shape, or the network fails.
        """
        self.manifest.require_outputs(shapes)
        try:
            outputs = self.run(np.zeros((1, self.info.height, self.info.width), np.uint8))
        except InferenceError as error:
            raise ModelError(f"model {error}") from error
        for role, accepted in shapes.items():
            if outputs[role].shape not in accepted:
                raise ModelError(
                    f"model {self.info.name}: {role} has the shape {outputs[role].shape}, expected"
                    f" {' or '.join(map(str, accepted))} for decoder {self.manifest.decoder!r}"
                )
        return outputs

    def tensor(self, picture: Luma) -> Tensor:
        """Return one picture as ``session.run`` takes it: scaled, normalised, in its layout.

        Without scaling and normalisation these are the bytes of the picture, not a copy.
        """
        if self._takes_bytes:
            return _planes(picture, self._input.channels, self._layout)
        return input_tensor(self._input, picture, self._layout)

    def _in_manifest_layout(self, values: Floats) -> Floats:
        """Return an output in the manifest's layout, converted from the file's."""
        if not self._transposed or values.ndim != 4:
            return values
        return values.transpose(0, 3, 1, 2) if self._layout == "nhwc" else np.moveaxis(values, 1, 3)


def _is_plain(input_: Input) -> bool:
    """Return whether the input's values are the grey levels themselves."""
    return input_.value_range == (0, 255) and input_.normalisation.kind == "none"


def input_tensor(input_: Input, picture: Luma, layout: str | None = None) -> Tensor:
    """Return a mono picture as the input tensor, float32: scaled, normalised, in ``layout``.

    Args:
        input_: the manifest's input.
        picture: uint8 (height, width), of the input's size.
        layout: ``nchw`` or ``nhwc``; None: that of ``input_``.
    """
    low, high = input_.value_range
    values = picture.astype(np.float32)
    scale = np.float32((high - low) / 255)
    if scale != 1:
        values *= scale
    if low:
        values += np.float32(low)
    normalisation = input_.normalisation
    if isinstance(normalisation, FixedNormalisation):
        values = (values - np.float32(normalisation.mean)) / np.float32(normalisation.std)
    elif isinstance(normalisation, PerSampleNormalisation):
        values -= _mean(values)
        if normalisation.divide:
            # as values.std() computes it
            deviations = values - _mean(values)
            deviations *= deviations
            # a uniform picture gives zeros, not NaN, also without an epsilon
            divisor = np.sqrt(_mean(deviations)) + np.float32(normalisation.epsilon)
            values /= divisor if divisor > 0 else np.float32(1)
    return _planes(values, input_.channels, layout or input_.layout)


def _mean(values: Floats) -> np.float32:
    """Return what ``values.mean()`` returns, without NumPy's wrapper in Python around it."""
    mean: np.float32 = np.add.reduce(values, axis=None) / np.float32(values.size)
    return mean


def _planes(values: Tensor, channels: int, layout: str) -> Tensor:
    if layout == "nchw":
        values = values[None, None]
        return values if channels == 1 else np.repeat(values, 3, axis=1)
    values = values[None, :, :, None]
    return values if channels == 1 else np.repeat(values, 3, axis=3)


def _apply_activation(values: Floats, activation: str) -> Floats:
    if activation == "softmax":
        softmax: Floats = np.exp(values - np.maximum.reduce(values, axis=-1, keepdims=True))
        softmax /= np.add.reduce(softmax, axis=-1, keepdims=True)
        return softmax
    if activation == "sigmoid":
        # equal to 1 / (1 + exp(-x)), but without overflow
        sigmoid: Floats = np.float32(0.5) + np.float32(0.5) * np.tanh(values * np.float32(0.5))
        return sigmoid
    return values
