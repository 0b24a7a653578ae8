"""onnxruntime with its telemetry switched off: everything else imports it from here.

onnxruntime 1.32 on Linux has telemetry on by default. It keeps a device id in the user's cache
folder and a database of events, and sends them to its maker. It reads ``ORT_DISABLE_TELEMETRY``
when it is loaded, so the variable has to be set first. Importing this module raises ``ImportError``
where onnxruntime is not installed or cannot be loaded.
"""

import importlib
import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

__all__ = ["errors", "onnxruntime", "quantization"]


def quantization() -> Any:
    """Return the module ``onnxruntime.quantization``; loading it takes a second.

    Raises:
        ImportError: the ``onnx`` package that it needs is not installed.
    """
    return importlib.import_module("onnxruntime.quantization")
