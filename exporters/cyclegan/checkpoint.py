"""Reads the tensors of PyTorch checkpoints without loading pickled objects."""

import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.vision.values import Floats
from exporters.artifacts.tflite import SETUP

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_PREFIX: Final = "module."  # DataParallel puts it before every name

# exceptions of torch.load on damaged files, found by experiment
_DAMAGE_ERRORS: Final = (
    RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, AssertionError, OverflowError, MemoryError, NotImplementedError, OSError,
    struct.error,
)  # fmt: skip


def is_checkpoint(content: bytes) -> bool:
    """Return whether a file begins like a PyTorch checkpoint: a zip archive or an old pickle."""
    return content.startswith((_ZIP, _PICKLE))


def read_state(path: Path, content: bytes) -> dict[str, Floats]:
    """Return the tensors of a state dict by name without ``module.``, floats as float32.

    Only tensors are unpickled (``weights_only``), so a file cannot run code.

    Args:
        path: the file's path, for messages.
        content: its bytes.

    Raises:
        ModelError: torch is missing, or the file is damaged or holds anything but tensors.
    """
    try:
        import torch  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            f"--weights {path}: reading a PyTorch checkpoint needs torch, which is not installed"
            f" here; {SETUP}"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern the author of the file
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"--weights {path}: holds Python objects or is damaged; expected a state dict, saved"
            " with torch.save(net.state_dict(), FILE)"
        ) from error
    except _DAMAGE_ERRORS as error:
        raise ModelError(
            f"--weights {path}: not a PyTorch checkpoint, or damaged: {_one_line(error)}"
        ) from error
    if not isinstance(loaded, dict) or not loaded:
        raise ModelError(
            f"--weights {path}: holds {_kind(loaded)}; expected a state dict of tensors"
        )
    state = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ModelError(
                f"--weights {path}: {str(name)[:60]!r} is {_kind(value)}; expected a state dict,"
                " names to tensors, and nothing around it"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise ModelError(
                f"--weights {path}: {name[:60]} is not a plain tensor; expected float weights"
            )
        kind = torch.float32 if value.is_floating_point() else torch.int64
        array: Floats = value.detach().to(kind).contiguous().numpy()
        state[name.removeprefix(_PREFIX)] = np.array(array)
    return state


def _kind(value: Any) -> str:
    return f"an empty {type(value).__name__}" if value == {} else f"a {type(value).__name__}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
