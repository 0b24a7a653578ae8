"""Reads the HDF5 files of Keras 2: layout, architecture, arrays.

Keras 2 writes two layouts: the whole model (``model.save("x.h5")``), with the architecture in the
attribute ``model_config`` and the weights under ``model_weights``; and the weights alone
(``save_weights("x.hdf5")``), with the architecture in a separate JSON file. Both name their layers
in the attribute ``layer_names`` and each layer's arrays in ``weight_names``. A nested model is one
group that holds the arrays of all its layers.

Nothing in these files is executed, and nothing outside them is read: HDF5 links to other files are
refused, and an array is read only if it has the shape that the architecture requires.
"""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import h5py
import numpy as np

from edge.errors import ModelError
from edge.vision.values import Floats
from exporters.expression.keras2_graph import emit
from exporters.expression.keras2_parts import printable

ARCHITECTURE: Final = "--architecture"
"""Start of error messages about the JSON file."""

JSON_BYTES_MAX: Final = 1 << 24
_NAMES_MAX: Final = 20_000
_UNREADABLE: Final = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)
"""Exceptions of h5py for damaged files."""


def convert(
    content: bytes, architecture: bytes | None = None, size: tuple[int, int] | None = None
) -> Any:
    """Return the ONNX model of a Keras 2 file; see ``exporters.expression.keras2.load_keras2``.

    With a damaged file the HDF5 library may never return: call it in a process that can be killed.

    Args:
        content: of the weights' file.
        architecture: content of the JSON file; None if the weights' file holds the architecture.
        size: width and height of the input, pixels; only for models of free size.

    Raises:
        ModelError: the file was not written by Keras 2, or is damaged; one line.
    """
    described = None if architecture is None else _architecture(architecture, ARCHITECTURE)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            stored, config = _layout(file)
            if described is None:
                if config is None:
                    raise ModelError("holds weights alone; give the model's --architecture FILE")
                described = _architecture(config, "its model_config")
            arrays = _Arrays(stored)
            model = emit(described, arrays, size)
            arrays.check_all_used()
    except (*_UNREADABLE, RecursionError, MemoryError) as error:
        raise ModelError(f"damaged HDF5: {printable(error)}; copy the file again") from error
    return model


def _architecture(text: str | bytes, origin: str) -> Mapping[str, Any]:
    """Return the architecture in the JSON ``text``, parsed and checked."""
    if len(text) > JSON_BYTES_MAX:
        raise ModelError(f"{origin}: {len(text)} bytes, expected at most {JSON_BYTES_MAX}")
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{origin}: not JSON: {printable(error)}; copy the file again") from error
    if not isinstance(model, dict) or not isinstance(model.get("config"), (dict, list)):
        raise ModelError(f"{origin}: not the architecture of a Keras model; use model.to_json()")
    _check_version(model, origin)
    return model


def _check_version(attributes: Mapping[str, Any], origin: str) -> None:
    version, backend = (_text(attributes.get(key, "")) for key in ("keras_version", "backend"))
    if version and not version.startswith("2."):
        raise ModelError(
            f"{origin}: written by Keras {printable(version)}; expected Keras 2 (tf_keras writes"
            ' it: model.save("model.h5"))'
        )
    if backend not in ("", "tensorflow"):
        raise ModelError(
            f"{origin}: Keras on {printable(backend)}; expected the tensorflow backend"
        )


def _layout(file: Any) -> tuple[Any, str | None]:
    """Return the group that holds the layers' groups, and the architecture or None."""
    config = file.attrs.get("model_config")
    stored = file
    if config is not None:
        _check_version(file.attrs, "the file")
        stored = _member(file, "model_weights")
    if not any(key in stored.attrs for key in ("layer_names", "layer_names0")):
        if config is None and ({"layers", "_layer_checkpoint_dependencies"} & set(file)):
            raise ModelError(
                "the newer .weights.h5 layout, which Keras 3 also writes, is not supported; save"
                ' under a name that does not end in .weights.h5: model.save("model.h5")'
            )
        raise ModelError(
            "no attribute layer_names; expected a file that Keras 2 wrote:"
            ' model.save("model.h5") or model.save_weights("weights.hdf5")'
        )
    _check_version(stored.attrs, "the file")
    return stored, None if config is None else _text(config)


class _Arrays:
    """The arrays of a file by group, layer and kind; records which were read.

    Attributes:
        groups: the names of the groups, in the order of the layers.
    """

    def __init__(self, stored: Any) -> None:
        self._paths: dict[tuple[str, str], dict[str, tuple[Any, str]]] = {}
        self.groups = _names(stored, "layer_names")
        self._used: set[tuple[str, str, str]] = set()
        for group_name in self.groups:
            group = _member(stored, group_name)
            for path in _names(group, "weight_names"):
                owner, _, kind = path.rpartition("/")
                layer = owner.rpartition("/")[2] or group_name
                known = self._paths.setdefault((group_name, layer), {})
                kind = kind.partition(":")[0]
                if kind in known:
                    raise ModelError(f"layer {printable(layer)}: {printable(kind)} is there twice")
                known[kind] = (group, path)

    def take(self, group: str, layer: str, kind: str, shape: tuple[int, ...]) -> Floats:
        """Return the array ``kind`` of ``layer``, float32 of ``shape``; see ``emit``."""
        where = f"layer {printable(layer)}: {kind}"
        owner = layer
        if group == layer and (group, layer) not in self._paths:
            # Keras numbers equal names within a process: the kernel may be dense_1/kernel
            others = [each for name, each in self._paths if name == group]
            owner = others[0] if len(others) == 1 else layer
        known = self._paths.get((group, owner), {})
        if kind not in known:
            raise ModelError(f"{where} is missing; expected {list(shape)}: is this the right file?")
        self._used.add((group, owner, kind))
        holder, path = known[kind]
        data = holder
        for step in path.split("/"):
            data = _member(data, step)
        if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
            raise ModelError(f"{where} is no plain array in this file; save the model again")
        if data.shape != shape or data.dtype.kind != "f":
            raise ModelError(
                f"{where} is {data.dtype} {list(data.shape or ())}, expected float32 {list(shape)}"
            )
        with np.errstate(over="ignore"):
            values = np.asarray(data[()], np.float32)
        if not np.isfinite(values).all():
            raise ModelError(f"{where} holds values that are not finite; train or copy it again")
        return values

    def check_all_used(self) -> None:
        """Refuse a file with weights that the architecture does not use."""
        for (group, layer), kinds in self._paths.items():
            for kind in kinds:
                if (group, layer, kind) not in self._used:
                    raise ModelError(
                        f"layer {printable(layer)}: {printable(kind)} has no place in the"
                        " architecture; is this the right architecture?"
                    )


def _member(group: Any, name: str) -> Any:
    """Return the member ``name`` of ``group``; links are refused."""
    if not isinstance(group, h5py.Group) or not name:
        raise ModelError(f"{printable(name)!r} is not where the file says; copy the file again")
    link = group.get(name, getlink=True)
    if link is None:
        raise ModelError(f"group {printable(name)!r} is missing; copy the file again")
    if not isinstance(link, h5py.HardLink):
        raise ModelError(f"{printable(name)!r} is a link, which Keras never writes; save it again")
    return group[name]


def _names(group: Any, attribute: str) -> list[str]:
    """Return a list of names; Keras splits a long one over several attributes."""
    names = [_text(name) for part in _parts(group, attribute) for name in np.ravel(part).tolist()]
    if len(names) > _NAMES_MAX or len(set(names)) != len(names):
        raise ModelError(f"{attribute}: {len(names)} names, some twice or too many to be a network")
    return names


def _parts(group: Any, attribute: str) -> Iterator[Any]:
    if attribute in group.attrs:
        yield group.attrs[attribute]
        return
    count = 0
    while f"{attribute}{count}" in group.attrs:
        yield group.attrs[f"{attribute}{count}"]
        count += 1
    if count == 0:
        raise ModelError(
            f"no attribute {attribute} in {printable(group.name)}; copy the file again"
        )


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
