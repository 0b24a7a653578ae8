"""Second stage: heads for true near-infrared faces, with people left out to decide and to report.

The photographs are few, and of few people, so the features stay what rated crops made them, and
only the two linear heads are fitted: the expression head near the one it had, valence and arousal
as what the named expressions are on such photographs. Full tuning of all weights was tried and was
worse for people that it had not seen.
"""

import dataclasses
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from benchmarks.metrics import figures
from edge.values import EXPRESSIONS
from exporters.recipes.networks import ExpressionNetwork
from exporters.recipes.nirfaces import NirFaces, cut
from exporters.recipes.pictures import normalised, varied

_COUNT: Final = len(EXPRESSIONS)


@dataclasses.dataclass(frozen=True)
class AdaptOptions:
    """How the heads are fitted.

    Attributes:
        views: how often each photograph is varied.
        strength: of the variation of light.
        pull: how strongly the expression head is held to the one it had.
        smoothing: share of a photograph's label given to the other expressions.
        margin: of the crop, share of its side.
        seed: of everything drawn.
    """

    views: int = 48
    strength: float = 0.4
    pull: float = 0.01
    smoothing: float = 0.1
    margin: float = 0.05
    seed: int = 7


@dataclasses.dataclass(frozen=True)
class Heads:
    """Both heads: ``logits = f @ expression.T + bias``; ``affect = softmax(logits) @ points``.

    Attributes:
        expression: (8, features).
        bias: (8,).
        points: (8, 2): valence and arousal that each expression stands for.
    """

    expression: Tensor
    bias: Tensor
    points: Tensor

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (n, 8) and valence and arousal (n, 2)."""
        shares = nnf.softmax(features @ self.expression.T + self.bias, 1)
        return shares, (shares @ self.points).clamp(-1, 1)


@dataclasses.dataclass(frozen=True)
class Features:
    """What the network makes of n photographs.

    Attributes:
        plain: (n, features), of the crops that the daemon cuts.
        varied: (views, n, features).
    """

    plain: Tensor
    varied: Tensor


@torch.no_grad()
def features_of(network: ExpressionNetwork, nir: NirFaces, options: AdaptOptions) -> Features:
    """Return the features of each photograph as the daemon cuts it, and of varied cuts."""
    network.eval()
    random = Generator().manual_seed(options.seed)
    views = [
        network.features(
            normalised(
                varied(
                    cut(nir.patches, random, options.margin), random, options.strength, move=False
                )
            )
        )
        for _ in range(options.views)
    ]
    return Features(network.features(normalised(nir.crops)), torch.stack(views))


def fit_heads(
    network: ExpressionNetwork,
    features: Features,
    nir: NirFaces,
    chosen: Tensor,
    options: AdaptOptions,
) -> Heads:
    """Return heads fitted on the photographs ``chosen``."""
    x = features.varied[:, chosen].reshape(-1, features.plain.shape[1])
    labels = nir.labels[chosen]
    target = nnf.one_hot(labels, _COUNT).float().repeat(len(features.varied), 1)
    target = target * (1 - options.smoothing) + options.smoothing / _COUNT
    scale = features.varied.reshape(-1, x.shape[1]).std(0) + 1e-3
    first = network.expression.weight.detach()
    weight = first.clone().requires_grad_()
    bias = network.expression.bias.detach().clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = -(target * nnf.log_softmax(x @ weight.T + bias, 1)).sum(1).mean()
        total = entropy + options.pull * (((weight - first) * scale) ** 2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    weight, bias = weight.detach(), bias.detach()
    shares = nnf.softmax(x @ weight.T + bias, 1)
    return Heads(weight, bias, _points(shares, nir.affect[chosen], labels, len(features.varied)))


def _points(shares: Tensor, affect: Tensor, labels: Tensor, views: int) -> Tensor:
    """Return the expressions' mean points, drawn apart until readings vary as annotations do.

    A mean over uncertain expressions lies nearer to the middle than any of them: concordance asks
    for the spread as well as for the order. 0.85 of the spread, because what is not explained
    should not be made up; never drawn together, and not beyond 2.5 times.
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
    return middle + (points - middle) * (0.85 * spread).clamp(1.0, 2.5)


def left_out(
    network: ExpressionNetwork, nir: NirFaces, options: AdaptOptions
) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Return the figures of every photograph read by heads that never saw its person.

    Also the probabilities (n, 8) and valence and arousal (n, 2) that the figures are of.
    """
    features = features_of(network, nir, options)
    shares, affect = torch.zeros(len(nir), _COUNT), torch.zeros(len(nir), 2)
    for person in sorted(set(nir.subjects)):
        away = nir.of({person})
        heads = fit_heads(network, features, nir, nir.of(set(nir.subjects) - {person}), options)
        shares[away], affect[away] = heads.read(features.plain[away])
    told = figures(
        np.asarray(shares.double()),
        np.asarray(affect.double()),
        np.asarray(nir.labels),
        np.asarray(nir.affect.double()),
        nir.subjects,
    )
    return told, shares, affect
