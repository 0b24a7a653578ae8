"""Fits heads of an expression network to annotated photographs: balanced multinomial regression.

A head reads the network's features, or these and the face mesh's coefficients: shape looks alike in
every light, so coefficients cross into near infrared where texture does not. Inputs are
standardised on the people of the fit, and a source of n inputs is scaled by sqrt(8 / n): else 192
features drown 52 coefficients. The logits are averaged with those of the recalibrated network,
which knows more people. Penalty, share and the axes that a head gives are chosen by photographs of
people left out of the fit, among the people of the fit.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.evaluation.metrics import ccc
from edge.vision.expression.readout import COEFFICIENT_OFFSET
from edge.vision.inference.fitted_head import FittedHead, HeadInput
from edge.vision.inference.manifest import Recalibration
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.adapt import (
    AdaptOptions,
    Predictions,
    balanced,
    expression_points,
    fit_priors,
    one_thread,
)
from exporters.recipes.nirfaces import NirFaces

_COUNT: Final = len(EXPRESSIONS)
_AXES: Final = ("valence", "arousal")
_FITTED_CROPS: Final = 3  # every third crop is fitted: the others add time, not people


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """Options of the fit.

    Attributes:
        penalties: C, the inverse strength of the L2 penalty, of which one is chosen.
        recalibrated: shares of the recalibrated network in the logits, of which one is chosen.
        left_out: people who are left out at a time, to choose.
    """

    penalties: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    recalibrated: tuple[float, ...] = (0.0, 0.25)
    left_out: int = 2


DEFAULT_OPTIONS: Final = HeadOptions()

_BETTER: Final = 0.02
"""CCC by which points of a head have to be better than those that it replaces."""

_FEW: Final = (0.1, 0.25)
"""Penalty and share where the people are too few to choose."""

Step = Callable[[], object]
"""Called after each fit, for a progress bar."""


@dataclasses.dataclass(frozen=True)
class HeadInputs:
    """What heads read of n photographs, for several crops: as detected first, then jittered.

    Attributes:
        logs: (crops, n, 8), log-probabilities of the network alone.
        features: (crops, n, m); None: the network gives none.
        coefficients: (crops, n, 52); NaN for a photograph without a mesh.
    """

    logs: Tensor
    features: Tensor | None
    coefficients: Tensor

    def sources(self, *, mesh: bool) -> list[Tensor]:
        """Return what the fitted part of a head reads, each (crops, n, inputs), float64."""
        sources = [] if self.features is None else [self.features.double()]
        if mesh:
            sources.append((self.coefficients.double() + float(COEFFICIENT_OFFSET)).log())
        if self.features is None:
            sources.append(self.logs.double() - self.logs.double().mean(2, keepdim=True))
        return sources

    def names(self, *, mesh: bool) -> tuple[HeadInput, ...]:
        """Return the inputs of a head, as the manifest names them."""
        features: tuple[HeadInput, ...] = () if self.features is None else ("features",)
        return ("logits", *features, *(("coefficients",) if mesh else ()))

    @property
    def has_mesh(self) -> NDArray[np.bool_]:
        """For each photograph whether it has a mesh, (n,)."""
        return np.asarray(~self.coefficients.isnan().any(2).any(0))


@dataclasses.dataclass(frozen=True)
class HeadData:
    """Photographs, and what network and heads predict and read of them.

    Attributes:
        nir: the photographs.
        predictions: of the network alone.
        inputs: of heads.
    """

    nir: NirFaces
    predictions: Predictions
    inputs: HeadInputs

    def with_mesh(self) -> "HeadData":
        """Return the part of those photographs that have a mesh."""
        at = torch.from_numpy(np.flatnonzero(self.inputs.has_mesh))
        if len(at) == len(self.nir):
            return self
        inputs, predictions = self.inputs, self.predictions
        features = None if inputs.features is None else inputs.features[:, at]
        return HeadData(
            self.nir.part(at),
            Predictions(
                predictions.plain[at], predictions.jittered[:, at], predictions.augmented[:, at]
            ),
            HeadInputs(inputs.logs[:, at], features, inputs.coefficients[:, at]),
        )


@dataclasses.dataclass(frozen=True)
class _Linear:
    """A fit: logits are ``inputs @ weights + bias``."""

    weights: Tensor
    bias: Tensor

    def logits(self, sources: list[Tensor]) -> Tensor:
        """Return (crops, n, 8)."""
        return torch.cat(sources, 2) @ self.weights + self.bias


def _fits(
    sources: list[Tensor], labels: Tensor, chosen: Tensor, penalties: tuple[float, ...]
) -> Iterator[_Linear]:
    """Yield the fit to the photographs ``chosen`` for each penalty."""
    means, scales = [], []
    for source in sources:
        rows = source[:, chosen].flatten(0, 1)
        spread = rows.std(0)
        means.append(rows.mean(0))
        # an input that hardly varies on these people must not dominate on others
        spread = spread + 1e-3 * spread.max().clamp_min(1e-9)
        scales.append((_COUNT / source.shape[2]) ** 0.5 / spread)
    mean, scale = torch.cat(means), torch.cat(scales)
    inputs = torch.cat([source[::_FITTED_CROPS, chosen] for source in sources], 2)
    crops = len(inputs)
    inputs = ((inputs - mean) * scale).flatten(0, 1)
    target = labels[chosen].repeat(crops)
    weights = balanced(target, 1.0).double() / crops
    matrix = torch.zeros(inputs.shape[1], _COUNT, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(_COUNT, dtype=torch.float64, requires_grad=True)
    for penalty in penalties:
        optimiser = torch.optim.LBFGS(
            [matrix, bias], max_iter=100, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
        )

        def loss(optimiser: Any = optimiser, penalty: float = penalty) -> Tensor:
            optimiser.zero_grad()
            entropy = nnf.cross_entropy(inputs @ matrix + bias, target, reduction="none")
            total = penalty * (weights * entropy).sum() + matrix.square().sum() / 2
            total = total + 5e-4 * bias.square().sum()  # softmax ignores a common offset
            total.backward()
            return total

        optimiser.step(loss)
        found = matrix.detach() * scale[:, None]
        yield _Linear(found, bias.detach() - mean @ found)


@dataclasses.dataclass(frozen=True)
class _LeftOut:
    """Logits for photographs of people who were left out of their fit.

    Attributes:
        fitted: (penalties, crops, n, 8), of the head.
        recalibrated: (crops, n, 8), of the recalibrated network.
    """

    fitted: Tensor
    recalibrated: Tensor

    def logits(self, penalty: int, share: float) -> Tensor:
        """Return the head's logits for the penalty with this number."""
        return (1 - share) * self.fitted[penalty] + share * self.recalibrated


def _recalibrated(logs: Tensor, temperature: float, offsets: tuple[float, ...]) -> Tensor:
    return logs.double() / temperature + torch.tensor(offsets, dtype=torch.float64)


def _left_out(
    data: HeadData,
    sources: list[Tensor],
    people: list[str],
    options: tuple[HeadOptions, AdaptOptions],
    done: Step,
) -> _LeftOut:
    """Return the logits of each of ``people`` by fits without a few of them."""
    heads, adapt = options
    order = torch.randperm(len(people), generator=Generator().manual_seed(adapt.seed)).tolist()
    nir, logs = data.nir, data.inputs.logs
    fitted = torch.zeros(len(heads.penalties), *logs.shape, dtype=torch.float64)
    recalibrated = torch.zeros(logs.shape, dtype=torch.float64)
    for at in range(0, len(people), heads.left_out):
        held = {people[place] for place in order[at : at + heads.left_out]}
        rows, chosen = nir.indices_of(held), nir.indices_of(set(people) - held)
        temperature, offsets = _priors(data, chosen, adapt)
        recalibrated[:, rows] = _recalibrated(logs[:, rows], temperature, offsets)
        for place, fit in enumerate(_fits(sources, nir.labels, chosen, heads.penalties)):
            fitted[place][:, rows] = fit.logits([source[:, rows] for source in sources])
        done()
    return _LeftOut(fitted, recalibrated)


def _priors(
    data: HeadData, chosen: Tensor, options: AdaptOptions
) -> tuple[float, tuple[float, ...]]:
    """Return temperature and offsets of the recalibration of these photographs."""
    augmented = data.predictions.augmented
    logits = augmented[:, chosen].reshape(-1, _COUNT)
    labels = data.nir.labels[chosen].repeat(len(augmented))
    return fit_priors(
        logits, labels, balance=options.balance, offset_penalty=options.offset_penalty
    )


@one_thread()
def fit_head(
    data: HeadData,
    people: set[str],
    recalibration: Recalibration,
    options: tuple[HeadOptions, AdaptOptions],
    *,
    mesh: bool,
    done: Step = lambda: None,
) -> FittedHead:
    """Return the head fitted to the photographs of ``people``.

    Args:
        data: all photographs; those without a mesh are left out with ``mesh``.
        people: who takes part.
        recalibration: fitted to the same photographs.
        options: of the head, and of the recalibration.
        mesh: whether the head reads coefficients.
        done: called after each fit: ``fits_of(len(people))`` times.
    """
    heads, adapt = options
    data = data.with_mesh() if mesh else data
    nir, inputs = data.nir, data.inputs
    names = sorted(people & set(nir.subjects))
    sources = inputs.sources(mesh=mesh)
    (penalty, share), points = _FEW, dict[str, Any](dict.fromkeys(_AXES))
    if len(names) > heads.left_out:
        left_out = _left_out(data, sources, names, options, done)
        chosen = nir.indices_of(set(names))
        place, share = _best(left_out, nir.labels, chosen, heads)
        penalty = heads.penalties[place]
        if mesh:  # features say nothing of valence and arousal that the recalibration does not
            points = _points(left_out, left_out.logits(place, share), nir, chosen)
    chosen = nir.indices_of(set(names))
    (fit,) = _fits(sources, nir.labels, chosen, (penalty,))
    done()
    own = torch.eye(_COUNT, dtype=torch.float64) * share / recalibration.temperature
    fitted = (1 - share) * fit.weights
    if inputs.features is None:  # the logits were fitted as well, and come last
        own, fitted = own + fitted[-_COUNT:], fitted[:-_COUNT]
    offsets = torch.tensor(recalibration.offsets, dtype=torch.float64)
    bias = (1 - share) * fit.bias + share * offsets
    rows = torch.cat([bias[None], own, fitted]).T.tolist()
    return FittedHead(
        kind="multinomial",
        inputs=inputs.names(mesh=mesh),
        fitted_on=adapt.fitted_on,
        samples=len(chosen),
        people=len(names),
        penalty=penalty,
        recalibrated=share,
        weights=tuple(" ".join(f"{value:.5g}" for value in row) for row in rows),
        **points,
    )


def fits_of(people: int, options: HeadOptions = DEFAULT_OPTIONS) -> int:
    """Return how many fits ``fit_head`` makes for so many people."""
    return 1 + (-(-people // options.left_out) if people > options.left_out else 0)


def _best(
    left_out: _LeftOut, labels: Tensor, chosen: Tensor, options: HeadOptions
) -> tuple[int, float]:
    """Return number of the penalty and share of the lowest log loss, each expression alike."""
    weights = balanced(labels[chosen], 1.0).double()

    def loss(choice: tuple[int, float]) -> float:
        logs = nnf.log_softmax(left_out.logits(*choice)[:, chosen], 2)
        right = logs.gather(2, labels[chosen][None, :, None].expand(len(logs), -1, 1))[..., 0]
        return float(-(weights * right).mean())

    numbers = range(len(options.penalties))
    return min(itertools.product(numbers, options.recalibrated), key=loss)


def _points(left_out: _LeftOut, logits: Tensor, nir: NirFaces, chosen: Tensor) -> dict[str, Any]:
    """Return by axis the points for the head's probabilities; None: the recalibration's are better.

    Both are judged by the CCC on people left out.
    """
    labels, affect = nir.labels[chosen], nir.affect[chosen]
    by_source = []
    for each in (logits, left_out.recalibrated):
        shares = nnf.softmax(each[:, chosen], 2).float()
        points = expression_points(shares.flatten(0, 1), affect, labels, len(shares))
        values = (shares[0] @ points).clamp(-1, 1)
        by_source.append((points, values.double().numpy()))
    target = affect.double().numpy()
    (points, values), (_, known) = by_source
    return {
        name: tuple(round(value, 4) for value in points[:, axis].tolist())
        if ccc(values[:, axis], target[:, axis]) - ccc(known[:, axis], target[:, axis]) >= _BETTER
        else None
        for axis, name in enumerate(_AXES)
    }
