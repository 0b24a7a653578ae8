"""The models room: folders with a manifest in, networks that answer out; it knows no faces."""

from edge.models.choice import Choice
from edge.models.folders import (
    Finding,
    ModelRow,
    bundled_models,
    find_model,
    load_manifest,
    model_rows,
    verify,
)
from edge.models.manifest import Manifest
from edge.models.network import Network, NetworkInfo, known_choice, open_network

__all__ = [
    "Choice",
    "Finding",
    "Manifest",
    "ModelRow",
    "Network",
    "NetworkInfo",
    "bundled_models",
    "find_model",
    "known_choice",
    "load_manifest",
    "model_rows",
    "open_network",
    "verify",
]
