"""A network in training: optimiser, schedule, weight average and loss."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from edge.errors import ConfigError
from exporters.recipes.landmarks import POINTS
from exporters.recipes.networks import ExpressionNetwork, LandmarkHead


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Options of the training.

    Attributes:
        epochs: passes over the training crops.
        batch: crops per step.
        rate: highest learning rate of the cycle.
        weight_decay: of weights, not of biases and batch norms.
        average: decay of the exponential average of weights.
        distil: weight of the larger network in the small one's loss; 0: there is no larger one.
        untouched: share of crops that are only moved and mirrored, without other augmentation; at
            0, 28 epochs underfit.
        class_power: expressions are weighted by (1 / their share) to this power; higher powers
            lose accuracy on frequent expressions.
        seed: of all random numbers.
    """

    epochs: int = 80
    batch: int = 96
    rate: float = 2.2e-3
    weight_decay: float = 0.03
    average: float = 0.998
    distil: float = 0.0
    untouched: float = 0.5
    class_power: float = 0.2
    seed: int = 20261124

    def check(self) -> None:
        """Check the range of every option.

        Raises:
            ConfigError: an option is out of range; the message names it.
        """
        check_ranges(
            self,
            ("epochs", 1, 10_000), ("batch", 2, 4096), ("rate", 1e-9, 1), ("weight_decay", 0, 1),
            ("average", 0, 1), ("distil", 0, 1), ("untouched", 0, 1), ("class_power", 0, 1),
        )  # fmt: skip


def check_ranges(options: object, *ranges: tuple[str, float, float]) -> None:
    """Check attributes of ``options``: (name, least, greatest).

    Raises:
        ConfigError: one is out of its range; the message names its option.
    """
    for name, low, high in ranges:
        value = getattr(options, name)
        if not low <= value <= high:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} {value}: expected {low:g} to {high:g}")


def has_native_bfloat16() -> bool:
    """Return whether the processor has bfloat16 instructions; without, a step takes 2.5 times."""
    # older versions of PyTorch lack the function
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Average:
    """The exponential average of a network's weights and batch-norm statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights; faster during the first steps."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 10))
        for kept, new in zip(self.network.state_dict().values(), network.state_dict().values(),
                             strict=True):  # fmt: skip
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


class Learner:
    """One network with its optimiser, schedule and average."""

    def __init__(
        self,
        widths: tuple[int, ...],
        steps: int,
        options: TrainOptions,
        prior: Tensor,
        *,
        landmarks: bool = False,
    ) -> None:
        self.network = ExpressionNetwork(widths).to(memory_format=torch.channels_last)
        self.landmarks = LandmarkHead(widths, len(POINTS)) if landmarks else None
        with torch.no_grad():  # otherwise the first thousand steps learn the label frequencies
            self.network.expression.bias.copy_(prior.log())
            self.network.expression.weight.mul_(0.1)
        self._parameters = list(self.network.parameters())
        if self.landmarks is not None:
            self._parameters += self.landmarks.parameters()
        decayed = [p for p in self._parameters if p.ndim > 1]
        others = [p for p in self._parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": options.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=options.rate,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, options.rate, total_steps=steps, pct_start=0.2, final_div_factor=1000
        )
        self.average = Average(self.network, options.average)

    def start_from(self, network: ExpressionNetwork) -> None:
        """Copy the weights of a network of the same widths."""
        self.network.load_state_dict(network.state_dict())
        self.average.network.load_state_dict(network.state_dict())

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the heads' outputs in training mode, float32; landmarks None without a head."""
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_native_bfloat16()):
            logits, affect, maps = self.network.forward_with_maps(batch)
            points = self.landmarks(maps) if self.landmarks is not None else None
        return logits.float(), affect.float(), points

    def step(self, loss: Tensor) -> None:
        """Take one optimiser step on ``loss``."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update(self.network)

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {
            "network": self.network.state_dict(),
            "landmarks": self.landmarks.state_dict() if self.landmarks is not None else None,
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a ``state``."""
        self.network.load_state_dict(state["network"])
        if self.landmarks is not None:
            self.landmarks.load_state_dict(state["landmarks"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def ccc(predicted: Tensor, true: Tensor) -> Tensor:
    """Return Lin's concordance correlation coefficient of each column, (k,)."""
    mean_p, mean_t = predicted.mean(0), true.mean(0)
    covariance = ((predicted - mean_p) * (true - mean_t)).mean(0)
    spread = predicted.var(0, correction=0) + true.var(0, correction=0)
    return 2 * covariance / (spread + (mean_p - mean_t) ** 2 + 1e-6)


def heads_loss(
    logits: Tensor, affect: Tensor, shares: Tensor, target: Tensor, weights: Tensor
) -> Tensor:
    """Return the loss of both heads against votes (n, 8) and valence and arousal (n, 2).

    Cross-entropy of the votes, and for valence and arousal 1 - CCC and the squared error.
    """
    log_p = nnf.log_softmax(logits, 1)
    expression = -(shares * log_p * weights).sum(1).mean()
    values = 2 * torch.sigmoid(affect) - 1
    agreement = (1 - ccc(values, target)).mean()
    return expression + 0.5 * agreement + 2.0 * nnf.mse_loss(values, target)
