"""Second stage: what true near-infrared faces make of the network's answers, people left out.

The photographs are few, and of few people. What they can tell for people that they do not show is
how common expressions are there, how sure to be, which expressions the logits of others speak for,
and where on the circumplex expressions lie: a temperature, an offset an expression, a mixing matrix
and a point an expression, which the manifest holds as its recalibration. The weights stay: what
fitting them to so few people gained others in the named expressions it lost them in valence, and
all of it forgot the rest of the world (see README.md).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.evaluation.metrics import ccc, figures, headlines
from benchmarks.evaluation.neutral import first_neutrals, told_from_own_neutral
from edge.errors import ConfigError
from edge.protocol.messages import Point
from edge.vision.expression.readout import SHARE_MIN, Readout
from edge.vision.inference import Network
from edge.vision.inference.manifest import Recalibration
from edge.vision.values import Affect, Floats, Reading
from edge.vocabulary import BASELINE_MAX, EXPRESSIONS
from exporters.recipes.networks import ExpressionNetwork
from exporters.recipes.nirfaces import NirFaces, cut
from exporters.recipes.pictures import normalised, varied

_COUNT: Final = len(EXPRESSIONS)

_POINT_MAX: Final = 5.0
_MIXING_MAX: Final = 5.0
_TEMPERATURE_MIN: Final = 0.05
"""What a manifest can hold; few pictures that agree wholly would ask for more, and mean nothing."""

_SPREAD: Final = 0.85
"""Of the annotations' spread, what readings get: what is not explained should not be made up."""


@dataclasses.dataclass(frozen=True)
class AdaptOptions:
    """How the recalibration is fitted.

    Attributes:
        views: how often each photograph is varied.
        strength: of the variation of light.
        balance: expressions weigh (1 / their count) to this power: 1: as if all were as common.
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
class Answers:
    """What the network says of n photographs, logarithms of probabilities.

    Attributes:
        plain: (n, 8), of the crops that the daemon cuts.
        beside: (``len(SHIFTS)``, n, 8), of crops beside those.
        varied: (views, n, 8).
    """

    plain: Tensor
    beside: Tensor
    varied: Tensor


Answer = Callable[[Tensor], Tensor]
"""Crops, float32 (n, 1, side, side) in 0..1 -> logarithms of probabilities (n, 8)."""


def answer_of(network: ExpressionNetwork) -> Answer:
    """Return how a network in training answers crops."""
    network.eval()

    def answer(crops: Tensor) -> Tensor:
        return _logs(nnf.softmax(network(normalised(crops))[0], 1))

    return answer


def answer_of_artifact(network: Network) -> Answer:
    """Return how a model folder's network answers crops, its own recalibration left aside."""
    plain = dataclasses.replace(Readout.of(network.manifest), recalibration=None)

    def answer(crops: Tensor) -> Tensor:
        return _logs(torch.from_numpy(plain.read(*heads_of(network, crops))[0]))

    return answer


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
def answers_of(answer: Answer, nir: NirFaces, options: AdaptOptions) -> Answers:
    """Return the answers to each photograph as the daemon cuts it, beside that, and varied."""
    random = Generator().manual_seed(options.seed)
    views = []
    for _ in range(options.views):
        crops = cut(nir.patches, random, options.margin)
        views.append(answer(varied(crops, random, options.strength)))
    beside = torch.stack([answer(crops) for crops in nir.beside])
    return Answers(answer(nir.crops), beside, torch.stack(views))


def fit(answers: Answers, nir: NirFaces, chosen: Tensor, options: AdaptOptions) -> Recalibration:
    """Return the recalibration fitted on the photographs ``chosen``, which ``options`` name."""
    views = len(answers.varied)
    logits, labels = answers.varied[:, chosen].reshape(-1, _COUNT), nir.labels[chosen]
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
    """Return the temperature and the offsets under which ``labels`` (n,) are likeliest.

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
    """Return the mixing under which ``labels`` (n,) are likeliest, the rest as in ``setting``.

    Fitted after the rest, so that valence and arousal, which are read without it, stay as they are.
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
    """Return probabilities and, with points, valence and arousal, as the daemon reads them."""
    shares = np.asarray(nnf.softmax(logits, 1))
    readout = Readout(np.arange(_COUNT), False, setting)
    return readout.read(shares, np.zeros((len(shares), 2), np.float32))


def _points(shares: Tensor, affect: Tensor, labels: Tensor, views: int) -> Tensor:
    """Return the expressions' mean points, drawn apart until readings vary as annotations do.

    A mean over uncertain expressions lies nearer to the middle than any of them: concordance asks
    for the spread as well as for the order. Never drawn together, and not beyond 2.5 times.
    """
    middle = affect.mean(0)
    points = torch.stack(
        [
            affect[labels == label].mean(0) if (labels == label).any() else middle
            for label in range(_COUNT)
        ]
    )
    read = shares @ points
    spread = affect.repeat(views, 1).std(0) / read.std(0).clamp_min(1e-3)
    apart = middle + (points - middle) * (_SPREAD * spread).clamp(1.0, 2.5)
    return apart.clamp(-_POINT_MAX, _POINT_MAX)


class _LeftOut:
    """Readings of each cut of each photograph by fits that never saw its person.

    Attributes:
        shares: (cuts, n, 8).
        affect: (cuts, n, 2).
    """

    def __init__(self, cuts: int, count: int) -> None:
        self.shares = np.zeros((cuts, count, _COUNT))
        self.affect = np.zeros((cuts, count, 2))

    def told(self, nir: NirFaces, of: NDArray[np.intp]) -> dict[str, Any]:
        """Return the headlines for the photographs ``of``: as cut, and the means of ``SHIFTS``."""
        truth, target = np.asarray(nir.labels)[of], np.asarray(nir.affect.double())[of]
        as_cut, *rows = [
            headlines(shares[of], affect[of], truth, target)
            for shares, affect in zip(self.shares, self.affect, strict=True)
        ]
        beside = {name: float(np.mean([row[name] for row in rows])) for name in as_cut}
        return {"as_cut": as_cut, "beside": beside}


def left_out(
    answers: Answers, nir: NirFaces, options: AdaptOptions
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return the figures of every photograph read by a fit that never saw its person.

    Also the probabilities (n, 8) and valence and arousal (n, 2) that the figures are of. Under
    ``beside`` the means of the headlines over crops a little beside the daemon's (``SHIFTS``):
    detectors disagree by as much, and one cut of few photographs is a matter of luck. Under
    ``personal_baseline`` those of readings told from each person's first neutral photograph, which
    is not scored, and of the same photographs without it; and how far a change from rest, as the
    daemon tells it (``relative``), agrees with the annotated one.

    Raises:
        ConfigError: there is one person only.
    """
    if len(set(nir.subjects)) < 2:
        raise ConfigError("--labels: one person only; expected two or more, to leave one out")
    cuts = torch.cat([answers.plain[None], answers.beside])
    plain, personal = _LeftOut(len(cuts), len(nir)), _LeftOut(len(cuts), len(nir))
    scored: set[int] = set()
    for person in sorted(set(nir.subjects)):
        away = nir.of({person})
        setting = fit(answers, nir, nir.of(set(nir.subjects) - {person}), options)
        for index, answer in enumerate(cuts):
            shares, affect = _read(answer, setting)
            plain.shares[index, away], plain.affect[index, away] = shares[away], affect[away]
            told = told_from_own_neutral(
                _readings(shares, affect), nir.labels.tolist(), nir.subjects
            )
            for at in set(away.tolist()) & set(told):
                personal.shares[index, at] = told[at].probabilities
                personal.affect[index, at] = dataclasses.astuple(told[at].affect)
                scored.add(at)
    everything = figures(
        plain.shares[0],
        plain.affect[0],
        np.asarray(nir.labels),
        np.asarray(nir.affect.double()),
        nir.subjects,
    )
    everything["beside"] = plain.told(nir, np.arange(len(nir)))["beside"]
    if scored:
        of = np.array(sorted(scored))
        everything["personal_baseline"] = {
            "scored": len(of),
            **personal.told(nir, of),
            "without": plain.told(nir, of),
            "change": _changes_told(plain.affect, nir),
        }
    return everything, plain.shares[0], plain.affect[0]


def _changes_told(affect: NDArray[np.float64], nir: NirFaces) -> dict[str, Any]:
    """Return the concordance of readings relative to rest with annotated changes from rest.

    Rest is each person's first neutral photograph; people whose values exceed ``BASELINE_MAX``
    there are left out. ``without``: of the readings as they are.

    Args:
        affect: (cuts, n, 2), as cut and beside that.
        nir: the photographs.
    """
    rest = first_neutrals(nir.labels.tolist(), nir.subjects)
    pairs = [
        (index, rest[person])
        for index, person in enumerate(nir.subjects)
        if person in rest and index != rest[person]
    ]
    annotated = np.asarray(nir.affect.double())
    rows = []
    for read in affect:
        of = np.array([pair for pair in pairs if np.abs(read[pair[1]]).max() <= BASELINE_MAX])
        if not len(of):
            return {}
        change = annotated[of[:, 0]] - annotated[of[:, 1]]
        points = [_point(read[face]).relative_to(_point(read[own])) for face, own in of]
        relative = np.array([[point.valence, point.arousal] for point in points])
        rows.append(
            [
                [ccc(told[:, axis], change[:, axis]) for axis in (0, 1)]
                for told in (relative, read[of[:, 0]])
            ]
        )
    told, without = np.array(rows).transpose(1, 0, 2)
    names = ("ccc_valence", "ccc_arousal")

    def named(cuts: NDArray[np.float64]) -> dict[str, Any]:
        as_cut, beside = cuts[0].tolist(), cuts[1:].mean(0).tolist()
        return {
            "as_cut": dict(zip(names, as_cut, strict=True)),
            "beside": dict(zip(names, beside, strict=True)),
        }

    return {**named(told), "without": named(without)}


def _point(affect: NDArray[np.float64]) -> Point:
    return Point(valence=float(affect[0]), arousal=float(affect[1]))


def _readings(shares: NDArray[np.float32], affect: NDArray[np.float32]) -> list[Reading]:
    return [
        Reading(row, Affect(*values)) for row, values in zip(shares, affect.tolist(), strict=True)
    ]
