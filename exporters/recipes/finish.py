"""Evaluates networks, calibrates their expression heads, and averages the weights of runs."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.evaluation import metrics
from edge.errors import ConfigError
from exporters.recipes.adapt import fit_priors
from exporters.recipes.augmentation import normalise
from exporters.recipes.ferplus import RatedCrops, read_ferplus
from exporters.recipes.networks import ExpressionNetwork
from exporters.recipes.onnx_file import fold_batch_norms, read_checkpoint
from exporters.recipes.runs import LAST, TRAINED, is_onnx_file, load_trained, make_folder


@torch.no_grad()
def evaluate(network: nn.Module, crops: RatedCrops) -> dict[str, float]:
    """Return accuracy and macro F1 against the majority vote, and CCC of valence and arousal."""
    network.eval()
    heads = [network(normalise(crops.pictures[at : at + 512])) for at in range(0, len(crops), 512)]
    chosen = np.asarray(torch.cat([logits for logits, _ in heads]).argmax(1))
    values = np.asarray(2 * torch.sigmoid(torch.cat([affect for _, affect in heads])) - 1)
    truth, target = np.asarray(crops.shares.argmax(1)), np.asarray(crops.affect)
    return {
        "accuracy": float((chosen == truth).mean()),
        "macro_f1": metrics.macro_f1(chosen, truth, crops.shares.shape[1]),
        "ccc_valence": metrics.ccc(values[:, 0], target[:, 0]),
        "ccc_arousal": metrics.ccc(values[:, 1], target[:, 1]),
    }


@torch.no_grad()
def calibrate_head(network: ExpressionNetwork, crops: RatedCrops) -> ExpressionNetwork:
    """Return ``network`` with a calibrated expression head: temperature, offset per expression.

    Training weights rare expressions more and learns from shares of votes, so its probabilities are
    not those of labels. They are fitted on validation crops.
    """
    result = copy.deepcopy(network).eval()
    logits = torch.cat(
        [result(normalise(crops.pictures[at : at + 512]))[0] for at in range(0, len(crops), 512)]
    )
    with torch.enable_grad():
        temperature, offsets = fit_priors(logits, crops.shares.argmax(1), balance=0.0)
    head = result.expression
    head.weight.div_(temperature)
    head.bias.div_(temperature).add_(torch.tensor(offsets))
    return result


@torch.no_grad()
def average(data: Path, out: Path, parts: Sequence[Path]) -> dict[str, float]:
    """Write ``trained.pt`` with the mean weights of ``parts``; return the test figures.

    ``parts`` are runs that started from the same weights, or ONNX files of their networks. The mean
    is often better than each part (model soups: Wortsman et al., ICML 2022). The head is calibrated
    as after a run.

    Raises:
        ConfigError: a part or the data cannot be read, or ``out`` cannot be written or holds a run.
    """
    networks = []
    for part in parts:
        read = read_checkpoint if is_onnx_file(part) else load_trained
        networks.append(fold_batch_norms(read(part, "--parts")))
    valid, test = read_ferplus(data, "valid"), read_ferplus(data, "test")
    make_folder(out)
    if (out / LAST).exists():
        raise ConfigError(f"--out {out}: holds a run; choose another")
    states = [each.state_dict() for each in networks]
    mean = networks[0]
    mean.load_state_dict(
        {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    )
    network = calibrate_head(mean, valid)
    torch.save(network.state_dict(), out / TRAINED)
    return evaluate(network, test)
