"""Second stage: recalibrates the network on near-infrared faces, leaving one person out at a time.

The photographs are few, and of few people. Only a few parameters can be fitted that hold for other
people: a temperature, an offset per expression (how common it is), a mixing matrix (what the logits
of other expressions say about it) and a point per expression (its valence and arousal). The
manifest holds them as the recalibration. The weights stay unchanged: fitting them to so few
people named other people's expressions better, but predicted their valence worse, and lost accuracy
on FER+ (see NOTES.md).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.evaluation.metrics import ccc, figures, main_figures
from benchmarks.evaluation.neutral import first_neutrals, relative_to_own_neutral
from edge.errors import ConfigError
from edge.protocol.messages import Point
from edge.vision.expression.readout import SHARE_MIN, Readout
from edge.vision.inference import Network
from edge.vision.inference.manifest import Recalibration
from edge.vision.values import Affect, Floats, Prediction
from edge.vocabulary import BASELINE_MAX, EXPRESSIONS
from exporters.recipes.augmentation import augmented, normalised
from exporters.recipes.networks import ExpressionNetwork
from exporters.recipes.nirfaces import NirFaces, cut

_COUNT: Final = len(EXPRESSIONS)

_POINT_MAX: Final = 5.0
_MIXING_MAX: Final = 5.0
_TEMPERATURE_MIN: Final = 0.05
"""What a manifest can hold; a few pictures without any error would fit larger values."""

_SPREAD: Final = 0.85
"""Spread of the predictions relative to the annotations': unexplained variance is left out."""


@dataclasses.dataclass(frozen=True)
class AdaptOptions:
    """How the recalibration is fitted.

    Attributes:
        views: augmented versions of each photograph.
        strength: of the augmentation of light.
        balance: expressions weigh (1 / their count) to this power; 1: a uniform class prior.
        pull: of offsets towards 0; per squared unit.
        pull_mixing: of each entry of the mixing towards 0; per squared unit.
        margin: of the crop, share of its side.
        seed: of everything drawn.
        fitted_on: what the photographs are, for the manifest.
    """

    views: int = 24
    strength: float = 0.4
    balance: float = 1.0
    pull: float = 0.003
    pull_mixing: float = 0.8
    margin: float = 0.05
    seed: int = 7
    fitted_on: str = "annotated near-infrared photographs"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The network's predictions for n photographs, logarithms of probabilities.

    Attributes:
        plain: (n, 8), of the crops that the daemon cuts.
        jittered: (``len(SHIFTS)``, n, 8), of jittered crops.
        augmented: (views, n, 8).
    """

    plain: Tensor
    jittered: Tensor
    augmented: Tensor


Predictor = Callable[[Tensor], Tensor]
"""Crops, float32 (n, 1, side, side) in 0..1 -> logarithms of probabilities (n, 8)."""


def predictor_of(network: ExpressionNetwork) -> Predictor:
    """Return a function that predicts crops with a network in training."""
    network.eval()

    def predict(crops: Tensor) -> Tensor:
        return _logs(nnf.softmax(network(normalised(crops))[0], 1))

    return predict


def predictor_of_artifact(network: Network) -> Predictor:
    """Return a function that predicts crops with a model folder's network, not recalibrated."""
    plain = dataclasses.replace(Readout.of(network.manifest), recalibration=None)

    def predict(crops: Tensor) -> Tensor:
        return _logs(torch.from_numpy(plain.decode(*heads_of(network, crops))[0]))

    return predict


def heads_of(network: Network, crops: Tensor) -> tuple[Floats, Floats]:
    """Return both outputs, (n, labels) and (n, 2), for crops: float32 (n, 1, side, side), 0..1."""
    pictures = (crops[:, 0] * 255).round().to(torch.uint8).numpy()
    heads = [network.run(picture[None]) for picture in pictures]
    return (
        np.concatenate([each["expression"] for each in heads]),
        np.concatenate([each["affect"] for each in heads]),
    )


def _logs(shares: Tensor) -> Tensor:
    return shares.clamp_min(float(SHARE_MIN)).log()


@torch.no_grad()
def predict_all(predict: Predictor, nir: NirFaces, options: AdaptOptions) -> Predictions:
    """Return the predictions for each photograph as the daemon cuts it, jittered, and augmented."""
    random = Generator().manual_seed(options.seed)
    views = []
    for _ in range(options.views):
        crops = cut(nir.patches, random, options.margin)
        views.append(predict(augmented(crops, random, options.strength)))
    jittered = torch.stack([predict(crops) for crops in nir.jittered])
    return Predictions(predict(nir.crops), jittered, torch.stack(views))


def fit(
    predictions: Predictions, nir: NirFaces, chosen: Tensor, options: AdaptOptions
) -> Recalibration:
    """Return the recalibration fitted on the photographs ``chosen``, which ``options`` name."""
    views = len(predictions.augmented)
    logits, labels = predictions.augmented[:, chosen].reshape(-1, _COUNT), nir.labels[chosen]
    temperature, offsets = fit_priors(
        logits, labels.repeat(views), balance=options.balance, pull=options.pull
    )
    setting = Recalibration(
        fitted_on=options.fitted_on,
        samples=len(chosen),
        temperature=temperature,
        offsets=offsets,
    )
    shares, _ = _read(logits, setting)
    points = _points(torch.from_numpy(shares), nir.affect[chosen], labels, views)
    rounded = tuple((round(valence, 4), round(arousal, 4)) for valence, arousal in points.tolist())
    mixing = _mixing(logits, labels.repeat(views), setting, options)
    return setting.model_copy(update={"points": rounded, "mixing": mixing})


def fit_priors(
    logits: Tensor, labels: Tensor, *, balance: float, pull: float = AdaptOptions.pull
) -> tuple[float, tuple[float, ...]]:
    """Return the temperature and the offsets that maximise the likelihood of ``labels`` (n,).

    ``balance`` and ``pull`` as in ``AdaptOptions``.
    """
    weights = _balanced(labels, balance)
    offsets = torch.zeros(_COUNT, requires_grad=True)
    sharpness = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([offsets, sharpness], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scaled = logits * sharpness.exp().clamp(max=1 / _TEMPERATURE_MIN)
        entropy = nnf.cross_entropy(scaled + offsets, labels, reduction="none")
        total = (weights * entropy).mean() + pull * offsets.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    found = (offsets - offsets.mean()).detach().tolist()
    temperature = max(_TEMPERATURE_MIN, float((-sharpness).exp().detach()))
    return round(temperature, 4), tuple(round(each, 4) for each in found)


def _mixing(
    logs: Tensor, labels: Tensor, setting: Recalibration, options: AdaptOptions
) -> tuple[tuple[float, ...], ...]:
    """Return the mixing that maximises the likelihood of ``labels`` (n,), given ``setting``.

    It is fitted last: valence and arousal are computed without it, and stay unchanged.
    """
    weights = _balanced(labels, options.balance)
    logits = logs / setting.temperature + torch.tensor(setting.offsets)
    centred = logs - logs.mean(1, keepdim=True)
    mixing = torch.zeros(_COUNT, _COUNT, requires_grad=True)
    optimiser = torch.optim.LBFGS([mixing], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = nnf.cross_entropy(logits + centred @ mixing.T, labels, reduction="none")
        total = (weights * entropy).mean() + options.pull_mixing * mixing.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    rows = mixing.detach().clamp(-_MIXING_MAX, _MIXING_MAX).tolist()
    return tuple(tuple(round(each, 4) for each in row) for row in rows)


def _balanced(labels: Tensor, power: float) -> Tensor:
    """Return a weight for each of ``labels`` (n,), (1 / its count) ** ``power``, of mean 1."""
    counts = torch.bincount(labels, minlength=_COUNT).clamp_min(1)
    weights = (1 / counts.float())[labels] ** power
    return weights / weights.mean()


def _read(
    logits: Tensor, setting: Recalibration
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities and, with points, valence and arousal, as the daemon computes them."""
    shares = np.asarray(nnf.softmax(logits, 1))
    readout = Readout(np.arange(_COUNT), False, setting)
    return readout.decode(shares, np.zeros((len(shares), 2), np.float32))


def _points(shares: Tensor, affect: Tensor, labels: Tensor, views: int) -> Tensor:
    """Return the expressions' mean points, spread until predictions vary as annotations do.

    A mean over uncertain expressions lies nearer to the middle than any of them, and CCC depends on
    the spread as well as on the order. The factor is 1 to 2.5.
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
    """Predictions for each crop of each photograph, by fits without its person.

    Attributes:
        shares: (cuts, n, 8).
        affect: (cuts, n, 2).
    """

    def __init__(self, cuts: int, count: int) -> None:
        self.shares = np.zeros((cuts, count, _COUNT))
        self.affect = np.zeros((cuts, count, 2))

    def main_figures(self, nir: NirFaces, of: NDArray[np.intp]) -> dict[str, Any]:
        """Return the main_figures for the photographs ``of``: as cut, and means over ``SHIFTS``."""
        truth, target = np.asarray(nir.labels)[of], np.asarray(nir.affect.double())[of]
        as_cut, *rows = [
            main_figures(shares[of], affect[of], truth, target)
            for shares, affect in zip(self.shares, self.affect, strict=True)
        ]
        jittered = {name: float(np.mean([row[name] for row in rows])) for name in as_cut}
        return {"as_cut": as_cut, "beside": jittered}


def cross_validate(
    predictions: Predictions, nir: NirFaces, options: AdaptOptions
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return the figures of leave-one-person-out cross-validation.

    Also the probabilities (n, 8) and valence and arousal (n, 2) that the figures come from.
    ``beside`` holds the mean main_figures over jittered crops (``SHIFTS``): detectors differ by as
    much, and one crop each of few photographs depends on luck. ``personal_baseline`` holds the
    main_figures relative to each person's first neutral photograph, which is not scored, and of the
    same photographs without a baseline; also how well the change from the baseline, as the daemon
    computes it (``relative``), agrees with the annotated change.

    Raises:
        ConfigError: there is one person only.
    """
    if len(set(nir.subjects)) < 2:
        raise ConfigError("--labels: one person only; expected two or more, to leave one out")
    cuts = torch.cat([predictions.plain[None], predictions.jittered])
    plain, personal = _CrossValidated(len(cuts), len(nir)), _CrossValidated(len(cuts), len(nir))
    scored: set[int] = set()
    for person in sorted(set(nir.subjects)):
        away = nir.of({person})
        setting = fit(predictions, nir, nir.of(set(nir.subjects) - {person}), options)
        for index, prediction in enumerate(cuts):
            shares, affect = _read(prediction, setting)
            plain.shares[index, away], plain.affect[index, away] = shares[away], affect[away]
            relative = relative_to_own_neutral(
                _readings(shares, affect), nir.labels.tolist(), nir.subjects
            )
            for at in set(away.tolist()) & set(relative):
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
    everything["beside"] = plain.main_figures(nir, np.arange(len(nir)))["beside"]
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
    """Return the CCC of predictions relative to the baseline with annotated changes from it.

    The baseline is each person's first neutral photograph; people whose values exceed
    ``BASELINE_MAX`` there are left out. ``without``: of the predictions without a baseline.

    Args:
        affect: (cuts, n, 2), as cut and jittered.
        nir: the photographs.
    """
    baselines = first_neutrals(nir.labels.tolist(), nir.subjects)
    pairs = [
        (index, baselines[person])
        for index, person in enumerate(nir.subjects)
        if person in baselines and index != baselines[person]
    ]
    annotated = np.asarray(nir.affect.double())
    rows = []
    for predicted in affect:
        of = np.array([pair for pair in pairs if np.abs(predicted[pair[1]]).max() <= BASELINE_MAX])
        if not len(of):
            return {}
        change = annotated[of[:, 0]] - annotated[of[:, 1]]
        points = [_point(predicted[face]).relative_to(_point(predicted[own])) for face, own in of]
        relative = np.array([[point.valence, point.arousal] for point in points])
        rows.append(
            [
                [ccc(values[:, axis], change[:, axis]) for axis in (0, 1)]
                for values in (relative, predicted[of[:, 0]])
            ]
        )
    from_baseline, without = np.array(rows).transpose(1, 0, 2)
    names = ("ccc_valence", "ccc_arousal")

    def named(cuts: NDArray[np.float64]) -> dict[str, Any]:
        as_cut, jittered = cuts[0].tolist(), cuts[1:].mean(0).tolist()
        return {
            "as_cut": dict(zip(names, as_cut, strict=True)),
            "beside": dict(zip(names, jittered, strict=True)),
        }

    return {**named(from_baseline), "without": named(without)}


def _point(affect: NDArray[np.float64]) -> Point:
    return Point(valence=float(affect[0]), arousal=float(affect[1]))


def _readings(shares: NDArray[np.float32], affect: NDArray[np.float32]) -> list[Prediction]:
    return [
        Prediction(row, Affect(*values))
        for row, values in zip(shares, affect.tolist(), strict=True)
    ]
