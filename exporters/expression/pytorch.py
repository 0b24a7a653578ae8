"""Reads expression networks from state dicts of PyTorch, without PyTorch."""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edge.errors import ModelError
from edge.files.regular import open_regular
from edge.validation import file_errors, prefixed
from edge.vision.values import Floats
from exporters.artifacts.torch_file import load_tensors
from exporters.expression.ddamfn import build_ddamfn, is_ddamfn
from exporters.expression.efficientnet import build_efficientnet, is_efficientnet
from exporters.expression.known import KNOWN
from exporters.expression.source import ExpressionSource

_EFFICIENT: Final = tuple(name for name in KNOWN if name != "ddamfn")


def is_pytorch(weights: Path) -> bool:
    """Return whether ``weights`` is a file that ``torch.save`` wrote; False if it is unreadable."""
    with suppress(OSError, zipfile.BadZipFile):
        with open(weights, "rb", opener=open_regular) as file:
            start = file.read(4)
        if start.startswith(b"\x80"):
            return True
        if start == b"PK\x03\x04":
            with zipfile.ZipFile(weights) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist())
    return False


def read_pytorch(
    weights: Path, network: str | None, size: tuple[int, int] | None
) -> ExpressionSource:
    """Return the network in a state dict: timm's EfficientNet, or DDAMFN.

    Args:
        weights: the file, ``.pt`` or ``.pth``.
        network: a key of ``KNOWN``; None: as the names of the weights say.
        size: width and height of its pictures; None: as published.

    Raises:
        ModelError: the file holds objects, another network, or one that its names do not identify.
    """
    with file_errors("--weights", weights, expected="a PyTorch state dict"):
        state, digest = load_tensors(weights, expected="a PyTorch state dict (.pt, .pth)")
    with prefixed(f"--weights {weights}"):
        name, model = _built(state, network, size)
    (given,) = model.graph.input
    _, channels, height, width = (each.dim_value for each in given.type.tensor_type.shape.dim)
    return ExpressionSource(
        model=model,
        input=given.name,
        layout="nchw",
        channels=channels,
        size=(width, height),
        sha256=digest,
        options={"from": "pytorch", "network": name, "size": f"{width}x{height}"},
    )


def _built(
    state: Mapping[str, Floats], network: str | None, size: tuple[int, int] | None
) -> tuple[str, Any]:
    if is_ddamfn(state):
        if network not in (None, "ddamfn"):
            raise ModelError(f"a DDAMFN; expected --network ddamfn, received {network}")
        side = KNOWN["ddamfn"].size
        return "ddamfn", build_ddamfn(state, size or (side, side))
    if is_efficientnet(state):
        if network not in _EFFICIENT:
            raise ModelError(
                "an EfficientNet of timm, whose padding is not in the file; give --network"
                f" {'|'.join(_EFFICIENT)} (HSEmotion: hsemotion; timm's tf_efficientnet_* or"
                " efficientnet_*)"
            )
        known = KNOWN[network]
        return network, build_efficientnet(state, size or (known.size, known.size), known)
    raise ModelError(
        "neither timm's EfficientNet (conv_stem.weight) nor DDAMFN (cat_head0); export the network"
        " to ONNX"
    )
