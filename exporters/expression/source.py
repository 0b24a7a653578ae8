"""Reads an expression checkpoint of any kind, and its metadata."""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from onnx import TensorProto

from edge.errors import ModelError
from edge.vision.inference import load_manifest
from edge.vision.inference.manifest import Layout
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts import graph
from exporters.expression.keras2 import HDF5_SIGNATURE, load_keras2

Normalisation = Literal["thesis", "standardised", "fixed", "none"]

NORMALISATIONS: Final[tuple[Normalisation, ...]] = ("thesis", "standardised", "fixed", "none")
"""Licence and citation of weights if neither the file nor the user states them."""

_OUR_CHECKPOINTS: Final = frozenset(
    {"fc6fbd398544f6b35499beed1843b370db807db846d5082142cb6ec0a7d1bb63"}
)
"""Hash of our first ONNX checkpoint, which has no metadata."""

_OUR_NAME: Final = "mobilenet_fer_nir"
_OUR_MARGIN: Final = 0.05
"""Training used 0 to 15 %; on 103 NIR photographs 0 to 20 % made no difference."""

_LICENCE: Final = "research use (weights trained on FER2013 pictures; FER+ labels: MIT)"
_CITATION: Final = (
    "E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang: Training deep networks for facial expression"
    " recognition with crowd-sourced label distribution, ICMI 2016; I. Goodfellow et al.:"
    " Challenges in representation learning, ICONIP 2013"
)


@dataclass(frozen=True, slots=True)
class ExpressionSource:
    """A checkpoint as ONNX with a fixed input size, and its metadata.

    Attributes:
        model: an ONNX model with one float input, batch 1.
        input: name of its input.
        layout: of the input.
        channels: 1 or 3.
        size: width and height, pixels.
        sha256: of the file.
        licence: of the weights; empty if the file does not state it.
        citation: publication to cite; empty if the file does not state it.
        normalisation: as the file or the names in it state; else None.
        margin: of the crop; None if the file does not state it.
        labels: of its classes in their order; empty if neither the file nor its names state them.
        options: what the manifest records about the file.
    """

    model: Any
    input: str
    layout: Layout
    channels: int
    size: tuple[int, int]
    sha256: str
    licence: str = ""
    citation: str = ""
    normalisation: Normalisation | None = None
    margin: float | None = None
    labels: tuple[str, ...] = ()
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def read_source(
    weights: Path, *, architecture: Path | None = None, size: tuple[int, int] | None = None
) -> ExpressionSource:
    """Return the checkpoint in ``weights``, a file of ONNX or Keras 2.

    The metadata of an ONNX file (``metadata_props``) may state ``licence``, ``citation``,
    ``normalisation`` (one of ``NORMALISATIONS`` except ``fixed``), ``margin`` and ``labels``
    (separated by commas). For an artifact of a model folder, the manifest states them.

    Args:
        weights: the file.
        architecture: JSON file of a Keras 2 model whose weights are in a separate file.
        size: width and height; only for networks of free size.

    Raises:
        ModelError: the file is of another kind, or does not have exactly one input for one picture;
            one line.
    """
    start = _signature(weights)
    if start == HDF5_SIGNATURE:
        keras = load_keras2(weights, architecture=architecture, size=size)
        ours = keras.name == _OUR_NAME
        options: dict[str, str | int | float | bool] = {"from": "keras2"}
        if architecture is not None:
            options |= {
                "architecture": architecture.name,
                "architecture_sha256": keras.architecture_sha256,
            }
        return _with_metadata(
            weights, keras.graph, keras.sha256, size, ours=ours, metadata={}, options=options
        )
    if architecture is not None:
        raise ModelError(
            f"--architecture {architecture}: goes with weights of Keras 2; {weights} is not HDF5"
        )
    model, digest = graph.load_graph(weights)
    metadata = _metadata_of_folder(weights, digest) or {
        each.key: each.value for each in model.metadata_props
    }
    return _with_metadata(
        weights,
        model,
        digest,
        size,
        ours=digest in _OUR_CHECKPOINTS,
        metadata=metadata,
        options={"from": "onnx"},
    )


def _metadata_of_folder(weights: Path, digest: str) -> dict[str, str]:
    """Return metadata from the folder's manifest; empty if it does not list ``weights``.

    Raises:
        ModelError: the manifest says that ``weights`` is no expression network.
    """
    try:
        manifest = load_manifest(weights.parent)
    except ModelError:
        return {}
    artifact = manifest.artifact(weights.name)
    if artifact is None or artifact.sha256 != digest:
        return {}
    if manifest.task != "facial-expression":
        raise ModelError(
            f"--weights {weights}: made for {manifest.task}, as the manifest in its folder says;"
            " expected an expression network"
        )
    metadata = {"licence": manifest.source.licence, "citation": manifest.source.citation}
    metadata["labels"] = ",".join(manifest.labels)
    if manifest.input.crop is not None:
        metadata["margin"] = str(manifest.input.crop.margin)
    how = manifest.exporter.options.get("normalisation")
    if isinstance(how, str) and how in ("thesis", "standardised"):
        metadata["normalisation"] = how
    return metadata


def _signature(weights: Path) -> bytes:
    """Return the first bytes of the file; name known kinds that are not supported.

    Raises:
        ModelError: the file cannot be read, or is of a kind that is not supported.
    """
    try:
        if weights.is_dir():
            kind = "a SavedModel folder" if (weights / "saved_model.pb").exists() else "a folder"
            raise ModelError(
                f"--weights {weights}: {kind}; expected a file: ONNX, or Keras 2"
                ' (model.save("model.h5"))'
            )
        if weights.exists() and not weights.is_file():
            raise ModelError(f"--weights {weights}: not a file; expected an ONNX or Keras 2 file")
        with weights.open("rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise ModelError(
            f"--weights {weights}: {error.strerror}; expected an ONNX or Keras 2 file"
        ) from error
    if start.startswith(b"PK\x03\x04"):
        kind = "a PyTorch checkpoint or another zip archive; export it to ONNX"
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(weights) as archive:
            if "model.weights.h5" in archive.namelist():
                kind = 'a .keras file, which Keras 3 writes; use tf_keras: model.save("m.h5")'
        raise ModelError(f"--weights {weights}: {kind}")
    if start.startswith(b"\x80"):
        raise ModelError(f"--weights {weights}: a pickle, which is never loaded; export it to ONNX")
    if start.lstrip().startswith(b"{"):
        raise ModelError(
            f"--weights {weights}: JSON; give it as --architecture and the weights as --weights"
        )
    return start


def _with_metadata(
    weights: Path,
    model: Any,
    digest: str,
    size: tuple[int, int] | None,
    *,
    ours: bool,
    metadata: Mapping[str, str],
    options: dict[str, str | int | float | bool],
) -> ExpressionSource:
    """Return the checkpoint with a fixed input size and its metadata."""
    graph.drop_overridable_weights(model)
    name, dims = _input(model, weights)
    layout, channels, height, width = _input_format(weights, name, dims)
    if size is not None:
        if (height or size[1], width or size[0]) != (size[1], size[0]):
            raise ModelError(
                f"--size {size[0]}x{size[1]}: {weights} takes {width}x{height}; leave --size out"
            )
        width, height = size
        options["size"] = f"{width}x{height}"
    if not height or not width:
        raise ModelError(
            f"--weights {weights}: leaves the size of its input open; give --size WIDTHxHEIGHT"
        )
    shape = (1, channels, height, width) if layout == "nchw" else (1, height, width, channels)
    graph.fix_shapes(model, {name: shape})
    for value in model.graph.output:  # they may name the batch size, which is fixed now
        value.type.tensor_type.ClearField("shape")
    names = {value.name.split(":")[0] for value in model.graph.output}
    normalisation: Normalisation | None = None
    if ours or (channels == 1 and names >= {"logits", "affect"}):
        normalisation = "standardised"
    elif names >= {"classifier", "regressor"}:
        normalisation = "thesis"
    labels: tuple[str, ...] = EXPRESSIONS if normalisation is not None else ()
    if "labels" in metadata:
        labels = tuple(each.strip() for each in metadata["labels"].split(","))
    return ExpressionSource(
        model=model,
        input=name,
        layout=layout,
        channels=channels,
        size=(width, height),
        sha256=digest,
        licence=_one_line(metadata.get("licence", _LICENCE if ours else "")),
        citation=_one_line(metadata.get("citation", _CITATION if ours else "")),
        normalisation=_normalisation_of(metadata, weights) or normalisation,
        margin=_margin_of(
            metadata, weights, _OUR_MARGIN if normalisation == "standardised" else None
        ),
        labels=labels,
        options=options,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


def _input(model: Any, weights: Path) -> tuple[str, list[int]]:
    """Return name and sizes of the one input; 0 stands for a free size."""
    inputs = list(model.graph.input)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs
    }
    if len(inputs) != 1 or len(shapes[inputs[0].name]) != 4:
        raise ModelError(
            f"--weights {weights}: expected one input for one picture, 4 dimensions; this one"
            f" takes {', '.join(f'{name} {shape}' for name, shape in shapes.items()) or 'nothing'}"
        )
    name = inputs[0].name
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type).lower()
        raise ModelError(
            f"--weights {weights}: input {name} is {kind}; expected float32: export the model in"
            " float, the exporter makes the int8 files"
        )
    return name, shapes[name]


def _input_format(weights: Path, name: str, dims: list[int]) -> tuple[Layout, int, int, int]:
    """Return layout, channels, height and width of an input, from its sizes."""
    _, first, second, third = dims
    if first in (1, 3):
        return "nchw", first, second, third
    if third in (1, 3):
        return "nhwc", third, first, second
    raise ModelError(
        f"--weights {weights}: input {name} of {dims} has no 1 or 3 channels; expected one picture,"
        " NCHW or NHWC"
    )


def _normalisation_of(metadata: Mapping[str, str], weights: Path) -> Normalisation | None:
    stated = metadata.get("normalisation")
    for known in NORMALISATIONS:
        if stated == known != "fixed":
            return known
    if stated is None:
        return None
    raise ModelError(
        f"--weights {weights}: its metadata say normalisation {stated[:40]!r}; expected thesis,"
        " standardised or none"
    )


def _margin_of(metadata: Mapping[str, str], weights: Path, otherwise: float | None) -> float | None:
    if "margin" not in metadata:
        return otherwise
    try:
        margin = float(metadata["margin"])
    except ValueError:
        margin = -1.0
    if not 0 <= margin <= 1:
        raise ModelError(
            f"--weights {weights}: its metadata say margin {metadata['margin'][:40]!r}; expected a"
            " share, 0 to 1"
        )
    return margin
