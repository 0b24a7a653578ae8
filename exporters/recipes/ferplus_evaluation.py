"""Evaluates a model folder on the FER+ test crops, with the daemon's own readout.

FER+ pictures come from the web and have another class distribution than near-infrared photographs
that show all expressions about equally often. The figures show how much accuracy a recalibration to
such photographs costs here, and how much class priors regain.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation.metrics import main_figures
from edge.errors import ConfigError
from edge.vision.expression.readout import Readout
from edge.vision.inference import Network
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.adapt import network_alone, run_heads
from exporters.recipes.ferplus import read_ferplus
from exporters.recipes.networks import SIDE


def ferplus_figures(network: Network, data: Path) -> dict[str, Any]:
    """Return the main figures on the test crops of ``data``, and the share predicted as neutral.

    ``network``: without recalibration; ``recalibrated``: as the daemon publishes;
    ``recalibrated_neutral_prior`` and ``recalibrated_priors``: with the share of neutral, or of
    each expression, in the validation crops as priors.

    Raises:
        ConfigError: the data cannot be read, the network takes crops of another size, or has no
            recalibration.
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
    # an expression that no validation crop shows counts as half a crop
    frequencies = np.maximum(counts, 0.5) / np.maximum(counts, 0.5).sum()
    priors = dict(zip(EXPRESSIONS, frequencies.tolist(), strict=True))
    readouts = {
        "network": network_alone(network),
        "recalibrated": Readout.of(network.manifest),
        "recalibrated_neutral_prior": Readout.of(network.manifest, {"neutral": priors["neutral"]}),
        "recalibrated_priors": Readout.of(network.manifest, priors),
    }
    scores, values, features = run_heads(network, test.pictures)
    truth, target = test.shares.argmax(1).numpy(), test.affect.numpy().astype(np.float64)
    neutral = EXPRESSIONS.index("neutral")
    result: dict[str, Any] = {
        "crops": len(test),
        "annotated_neutral": float((truth == neutral).mean()),
        "priors": priors,
    }
    for name, readout in readouts.items():
        decoded = readout.decode(scores, values, readout.inputs(scores, features))
        shares, affect = (each.astype(np.float64) for each in decoded)
        predicted_neutral = float((shares.argmax(1) == neutral).mean())
        result[name] = {
            **main_figures(shares, affect, truth, target),
            "predicted_neutral": predicted_neutral,
        }
    return result
