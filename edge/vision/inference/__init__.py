"""Loads and runs verified networks in any runtime. Knows nothing about faces."""

from edge.vision.inference.choice import Choice
from edge.vision.inference.folders import (
    Finding,
    ModelRow,
    bundled_models,
    find_model,
    load_manifest,
    model_rows,
    verify,
)
from edge.vision.inference.manifest import Manifest
from edge.vision.inference.network import Network, NetworkInfo
from edge.vision.inference.opening import (
    open_configured,
    open_network,
    saved_choice,
    saved_threads,
)

__all__ = [
    "Choice",
    "Finding",
    "Manifest",
    "ModelRow",
    "Network",
    "NetworkInfo",
    "bundled_models",
    "find_model",
    "load_manifest",
    "model_rows",
    "open_configured",
    "open_network",
    "saved_choice",
    "saved_threads",
    "verify",
]
