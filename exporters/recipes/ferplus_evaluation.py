"""Evaluates a model folder on the FER+ test crops, with the daemon's own readout.

These web pictures have another class distribution than near-infrared photographs that show all
expressions equally often. The figures show what a recalibration to such photographs costs here, and
what class priors regain.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation.metrics import main_figures
from edge.errors import ConfigError
from edge.vision.expression.readout import Readout
from edge.vision.inference import Network
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.adapt import heads_of
from exporters.recipes.ferplus import read_ferplus
from exporters.recipes.networks import SIDE


def ferplus_figures(network: Network, data: Path) -> dict[str, Any]:
    """Return the main_figures on the test crops of ``data``, and how many faces are called neutral.

    ``network`` is the network without its recalibration; ``read`` is what the daemon publishes;
    with priors: the share of neutral, or of each expression, counted on the validation crops.

    Raises:
        ConfigError: the data cannot be read, the network takes other crops, or has no
            recalibration, so that there is nothing to compare.
    """
    if network.manifest.recalibration is None:
        raise ConfigError(
            f"model {network.info.name}: has no recalibration; expected one, to measure its cost"
        )
    if (network.info.width, network.info.height) != (SIDE, SIDE):
        raise ConfigError(
            f"model {network.info.name}: takes {network.info.width}x{network.info.height};"
            f" expected {SIDE}x{SIDE}, which the crops are"
        )
    valid, test = (read_ferplus(data, split) for split in ("valid", "test"))
    counts = np.bincount(valid.shares.argmax(1).numpy(), minlength=len(EXPRESSIONS))
    # an expression without a face in the validation crops counts as half a face
    mix = np.maximum(counts, 0.5) / np.maximum(counts, 0.5).sum()
    shown = dict(zip(EXPRESSIONS, mix.tolist(), strict=True))
    own = dataclasses.replace(Readout.of(network.manifest), recalibration=None)
    readouts = {
        "network": own,
        "read": Readout.of(network.manifest),
        "read_neutral_prior": Readout.of(network.manifest, {"neutral": shown["neutral"]}),
        "read_priors": Readout.of(network.manifest, shown),
    }
    outputs = heads_of(network, test.pictures)
    truth, target = test.shares.argmax(1).numpy(), test.affect.numpy().astype(np.float64)
    neutral = EXPRESSIONS.index("neutral")
    result: dict[str, Any] = {
        "crops": len(test),
        "shown_neutral": float((truth == neutral).mean()),
        "priors": shown,
    }
    for name, readout in readouts.items():
        shares, affect = (each.astype(np.float64) for each in readout.decode(*outputs))
        called = float((shares.argmax(1) == neutral).mean())
        result[name] = {**main_figures(shares, affect, truth, target), "called_neutral": called}
    return result
