"""Second stage: recalibrates a network on near-infrared photographs; cross-validation by person.

The photographs are few, and of few people, so only a few parameters generalise to other people: a
temperature, an offset per expression (its prior), a mixing matrix (weights of other expressions'
logits) and a point per expression (its valence and arousal). The manifest holds them as the
recalibration. The weights stay unchanged: fitting them to so few people improved expressions of
other people, but worsened their valence and the accuracy on FER+ (see NOTES.md).
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.evaluation.metrics import ccc, figures, main_figures
from benchmarks.evaluation.neutral import changes_from_neutral, relative_to_own_neutral
from edge.errors import ConfigError
from edge.vision.expression.readout import FEATURES, SHARE_MIN, Readout
from edge.vision.inference import Network
from edge.vision.inference.manifest import Recalibration
from edge.vision.values import Affect, Floats, Prediction
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.augmentation import augment, normalise
from exporters.recipes.networks import ExpressionNetwork
from exporters.recipes.nirfaces import NirFaces, random_crops

_COUNT: Final = len(EXPRESSIONS)

_POINT_MAX: Final = 5.0
_MIXING_MAX: Final = 5.0
_TEMPERATURE_MIN: Final = 0.05
"""Limits of the manifest; a few pictures without any error would give values beyond them."""

_SPREAD: Final = 0.85
"""Standard deviation of the predictions relative to that of the annotations: below 1, because part
of the variance stays unexplained."""


@dataclasses.dataclass(frozen=True)
class AdaptOptions:
    """Options of the fit.

    Attributes:
        views: augmented versions per photograph.
        strength: of the augmentation of brightness and noise.
        balance: expressions are weighted by (1 / their count) to this power; 1: a uniform class
            prior.
        offset_penalty: L2 penalty of the offsets.
        mixing_penalty: L2 penalty of the mixing's entries.
        margin: of the crop, share of its side.
        seed: of all random numbers.
        fitted_on: description of the photographs, for the manifest.
    """

    views: int = 24
    strength: float = 0.4
    balance: float = 1.0
    offset_penalty: float = 0.003
    mixing_penalty: float = 0.8
    margin: float = 0.05
    seed: int = 7
    fitted_on: str = "annotated near-infrared photographs"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The network's predictions for n photographs, as log-probabilities.

    Attributes:
        plain: (n, 8), for the crops that the daemon makes.
        jittered: (``len(SHIFTS)``, n, 8), for jittered crops.
        augmented: (views, n, 8), for augmented crops.
    """

    plain: Tensor
    jittered: Tensor
    augmented: Tensor


Predictor = Callable[[Tensor], Tensor]
"""Crops, float32 (n, 1, side, side) in 0..1 -> log-probabilities (n, 8)."""


def predictor_from_network(network: ExpressionNetwork) -> Predictor:
    """Return a function that predicts crops with a PyTorch network."""
    network.eval()

    def predict(crops: Tensor) -> Tensor:
        return log_probabilities(nnf.softmax(network(normalise(crops))[0], 1))

    return predict


def predictor_from_artifact(network: Network) -> Predictor:
    """Return a function that predicts crops with a model folder's network, not recalibrated."""
    plain = network_alone(network)

    def predict(crops: Tensor) -> Tensor:
        scores, affect, _ = run_heads(network, crops)
        return log_probabilities(torch.from_numpy(plain.decode(scores, affect)[0]))

    return predict


def network_alone(network: Network) -> Readout:
    """Return the readout of a model folder without recalibration and fitted heads."""
    return dataclasses.replace(Readout.of(network.manifest), recalibration=None, heads=())


def run_heads(network: Network, crops: Tensor) -> tuple[Floats, Floats, Floats | None]:
    """Return a network's outputs for crops: float32 (n, 1, side, side), 0..1.

    Returns:
        The outputs (n, labels) and (n, 2), and the features (n, m); None if it gives none.
    """
    pictures = (crops[:, 0] * 255).round().to(torch.uint8).numpy()
    heads = [network.run(picture[None]) for picture in pictures]
    return (
        np.concatenate([each["expression"] for each in heads]),
        # a classifier has no such output; its anchors stand in the manifest
        np.concatenate([each.get("affect", np.zeros((1, 2), np.float32)) for each in heads]),
        np.concatenate([each[FEATURES] for each in heads]) if FEATURES in heads[0] else None,
    )


def log_probabilities(shares: Tensor) -> Tensor:
    """Return the logarithms of probabilities; those of 0 are finite."""
    return shares.clamp_min(float(SHARE_MIN)).log()


@torch.no_grad()
def predict_all(predict: Predictor, nir: NirFaces, options: AdaptOptions) -> Predictions:
    """Return the predictions for each photograph: cropped by the daemon, jittered, augmented."""
    random = Generator().manual_seed(options.seed)
    views = []
    for _ in range(options.views):
        crops = random_crops(nir.patches, random, options.margin)
        views.append(predict(augment(crops, random, options.strength)))
    jittered = torch.stack([predict(crops) for crops in nir.jittered])
    return Predictions(predict(nir.crops), jittered, torch.stack(views))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: a fit's matrices are small, and threads wait for one another.

    Where another program has one of the cores, that is nearly all of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def fit(
    predictions: Predictions, nir: NirFaces, chosen: Tensor, options: AdaptOptions
) -> Recalibration:
    """Return the recalibration fitted on the photographs with the indices ``chosen``."""
    views = len(predictions.augmented)
    logits, labels = predictions.augmented[:, chosen].reshape(-1, _COUNT), nir.labels[chosen]
    temperature, offsets = fit_priors(
        logits, labels.repeat(views), balance=options.balance, offset_penalty=options.offset_penalty
    )
    recalibration = Recalibration(
        fitted_on=options.fitted_on,
        samples=len(chosen),
        temperature=temperature,
        offsets=offsets,
    )
    shares, _ = _apply(logits, recalibration)
    points = expression_points(torch.from_numpy(shares), nir.affect[chosen], labels, views)
    rounded = tuple((round(valence, 4), round(arousal, 4)) for valence, arousal in points.tolist())
    mixing = _mixing(logits, labels.repeat(views), recalibration, options)
    return recalibration.model_copy(update={"points": rounded, "mixing": mixing})


def fit_priors(
    logits: Tensor,
    labels: Tensor,
    *,
    balance: float,
    offset_penalty: float = AdaptOptions.offset_penalty,
) -> tuple[float, tuple[float, ...]]:
    """Return the temperature and the offsets that maximise the likelihood of ``labels`` (n,).

    ``balance`` and ``offset_penalty`` as in ``AdaptOptions``.
    """
    weights = balanced(labels, balance)
    offsets = torch.zeros(_COUNT, requires_grad=True)
    log_scale = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([offsets, log_scale], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scaled = logits * log_scale.exp().clamp(max=1 / _TEMPERATURE_MIN)
        entropy = nnf.cross_entropy(scaled + offsets, labels, reduction="none")
        total = (weights * entropy).mean() + offset_penalty * offsets.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    found = (offsets - offsets.mean()).detach().tolist()
    temperature = max(_TEMPERATURE_MIN, float((-log_scale).exp().detach()))
    return round(temperature, 4), tuple(round(each, 4) for each in found)


def _mixing(
    logs: Tensor, labels: Tensor, recalibration: Recalibration, options: AdaptOptions
) -> tuple[tuple[float, ...], ...]:
    """Return the mixing that maximises the likelihood of ``labels`` (n,), given the other values.

    It is fitted last: valence and arousal are computed without it, and stay unchanged.
    """
    weights = balanced(labels, options.balance)
    logits = logs / recalibration.temperature + torch.tensor(recalibration.offsets)
    centred = logs - logs.mean(1, keepdim=True)
    mixing = torch.zeros(_COUNT, _COUNT, requires_grad=True)
    optimiser = torch.optim.LBFGS([mixing], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = nnf.cross_entropy(logits + centred @ mixing.T, labels, reduction="none")
        total = (weights * entropy).mean() + options.mixing_penalty * mixing.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    rows = mixing.detach().clamp(-_MIXING_MAX, _MIXING_MAX).tolist()
    return tuple(tuple(round(each, 4) for each in row) for row in rows)


def balanced(labels: Tensor, power: float) -> Tensor:
    """Return weights of ``labels`` (n,): (1 / count of the label) ** ``power``, with mean 1."""
    counts = torch.bincount(labels, minlength=_COUNT).clamp_min(1)
    weights = (1 / counts.float())[labels] ** power
    return weights / weights.mean()


def _apply(
    logits: Tensor, recalibration: Recalibration
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities, and valence and arousal, as the daemon computes them."""
    shares = np.asarray(nnf.softmax(logits, 1))
    readout = Readout(np.arange(_COUNT), False, recalibration)
    return readout.decode(shares, np.zeros((len(shares), 2), np.float32))


def expression_points(shares: Tensor, affect: Tensor, labels: Tensor, views: int) -> Tensor:
    """Return the mean valence and arousal of each expression, spread out from the overall mean.

    A mean over uncertain expressions lies nearer to the overall mean than each of them, and CCC
    depends on the variance, too. The factor, 1 to 2.5, gives predictions ``_SPREAD`` times the
    standard deviation of the annotations.
    """
    middle = affect.mean(0)
    points = torch.stack(
        [
            affect[labels == label].mean(0) if (labels == label).any() else middle
            for label in range(_COUNT)
        ]
    )
    predicted = shares @ points
    spread = affect.repeat(views, 1).std(0) / predicted.std(0).clamp_min(1e-3)
    spread_points = middle + (points - middle) * (_SPREAD * spread).clamp(1.0, 2.5)
    return spread_points.clamp(-_POINT_MAX, _POINT_MAX)


class _CrossValidated:
    """Predictions for each crop of each photograph, with recalibrations fitted without its person.

    Attributes:
        shares: probabilities, (crops, n, 8); first as detected, then jittered.
        affect: valence and arousal, (crops, n, 2).
    """

    def __init__(self, crops: int, count: int) -> None:
        self.shares = np.zeros((crops, count, _COUNT))
        self.affect = np.zeros((crops, count, 2))

    def main_figures(self, nir: NirFaces, of: NDArray[np.intp]) -> dict[str, Any]:
        """Return the main figures for the photographs ``of``: as detected, and mean of jittered."""
        truth, target = np.asarray(nir.labels)[of], np.asarray(nir.affect.double())[of]
        as_detected, *rows = [
            main_figures(shares[of], affect[of], truth, target)
            for shares, affect in zip(self.shares, self.affect, strict=True)
        ]
        jittered = {name: float(np.mean([row[name] for row in rows])) for name in as_detected}
        return {"as_detected": as_detected, "jittered": jittered}


def cross_validate(
    predictions: Predictions, nir: NirFaces, options: AdaptOptions
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return the figures of leave-one-person-out cross-validation, and the predictions behind them.

    ``jittered`` holds the means of the main figures over jittered crops (``SHIFTS``): detectors
    differ by as much, and one crop per photograph leaves much to chance. ``personal_baseline``
    holds the main figures relative to each person's first neutral photograph, which is not scored,
    and those of the same photographs without a baseline; also the agreement of the change from the
    baseline, as the daemon computes it (``relative``), with the annotated change.

    Returns:
        The figures, the probabilities (n, 8), and valence and arousal (n, 2).

    Raises:
        ConfigError: the photographs show one person only.
    """
    if len(set(nir.subjects)) < 2:
        raise ConfigError("--labels: one person only; expected two or more, to leave one out")
    crops = torch.cat([predictions.plain[None], predictions.jittered])
    plain, personal = _CrossValidated(len(crops), len(nir)), _CrossValidated(len(crops), len(nir))
    scored: set[int] = set()
    for person in sorted(set(nir.subjects)):
        held_out = nir.indices_of({person})
        recalibration = fit(predictions, nir, nir.indices_of(set(nir.subjects) - {person}), options)
        for index, prediction in enumerate(crops):
            shares, affect = _apply(prediction, recalibration)
            plain.shares[index, held_out] = shares[held_out]
            plain.affect[index, held_out] = affect[held_out]
            relative = relative_to_own_neutral(
                _predictions(shares, affect), nir.labels.tolist(), nir.subjects
            )
            for at in set(held_out.tolist()) & set(relative):
                personal.shares[index, at] = relative[at].probabilities
                personal.affect[index, at] = dataclasses.astuple(relative[at].affect)
                scored.add(at)
    everything = figures(
        plain.shares[0],
        plain.affect[0],
        np.asarray(nir.labels),
        np.asarray(nir.affect.double()),
        nir.subjects,
    )
    everything["jittered"] = plain.main_figures(nir, np.arange(len(nir)))["jittered"]
    if scored:
        of = np.array(sorted(scored))
        everything["personal_baseline"] = {
            "scored": len(of),
            **personal.main_figures(nir, of),
            "without": plain.main_figures(nir, of),
            "change": _change_figures(plain.affect, nir),
        }
    return everything, plain.shares[0], plain.affect[0]


def _change_figures(affect: NDArray[np.float64], nir: NirFaces) -> dict[str, Any]:
    """Return the CCC of predicted and annotated changes from the baseline.

    The baseline is each person's first neutral photograph; people whose prediction there exceeds
    ``BASELINE_MAX`` are left out. ``without``: CCC of the predictions without a baseline.

    Args:
        affect: (crops, n, 2), as detected and jittered.
        nir: the photographs.
    """
    annotated = np.asarray(nir.affect.double())
    rows = []
    for predicted in affect:
        of, relative, change = changes_from_neutral(
            predicted, annotated, nir.labels.tolist(), nir.subjects
        )
        if not len(of):
            return {}
        rows.append(
            [
                [ccc(values[:, axis], change[:, axis]) for axis in (0, 1)]
                for values in (relative, predicted[of])
            ]
        )
    from_baseline, without = np.array(rows).transpose(1, 0, 2)
    names = ("ccc_valence", "ccc_arousal")

    def named(crops: NDArray[np.float64]) -> dict[str, Any]:
        as_detected, jittered = crops[0].tolist(), crops[1:].mean(0).tolist()
        return {
            "as_detected": dict(zip(names, as_detected, strict=True)),
            "jittered": dict(zip(names, jittered, strict=True)),
        }

    return {**named(from_baseline), "without": named(without)}


def _predictions(shares: NDArray[np.float32], affect: NDArray[np.float32]) -> list[Prediction]:
    return [
        Prediction(row, Affect(*values))
        for row, values in zip(shares, affect.tolist(), strict=True)
    ]
