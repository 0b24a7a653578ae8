"""Loads and runs verified models, whatever their runtime. It knows nothing about faces."""

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
from edge.vision.inference.network import Network, NetworkInfo, open_network, saved_choice

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
    "open_network",
    "saved_choice",
    "verify",
]
