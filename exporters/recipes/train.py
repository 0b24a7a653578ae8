"""First stage: expression, valence and arousal from rated visible-light crops.

With ``--distil`` a larger network learns beside the small one, from the same pictures, and the
small one also learns from its answers (distillation while both learn: Anil et al., ICLR 2018).
With ``--landmarks`` the small one also learns where the landmarks of each face are. What is kept is
the exponential average of the weights.
"""

import copy
import dataclasses
import hashlib
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor, nn

from benchmarks.evaluation import metrics
from edge.clock import Stopwatch
from edge.errors import ConfigError
from exporters.recipes.adapt import fit_priors
from exporters.recipes.ferplus import RatedCrops, read_ferplus
from exporters.recipes.landmarks import MIRRORED, POINTS, Shapes, known
from exporters.recipes.networks import (
    STUDENT_WIDTHS,
    TEACHER_WIDTHS,
    ExpressionNetwork,
    LandmarkHead,
)
from exporters.recipes.onnx_file import folded, norms_set_anew, read_checkpoint
from exporters.recipes.pictures import moved_points, movements, normalised, varied

_TRAINED: Final = "trained.pt"
"""The finished small network, in the folder of a run."""

_LAST: Final = "last.pt"
"""The state after the last epoch, in the same folder."""

_TARGETS: Final = "targets.pt"
"""What earlier networks made of the targets, in the same folder: the work of minutes."""

_GUIDED: Final = 0.5
"""Share of earlier networks' answers in the targets, where there are such networks."""

_CUTS: Final = 6
"""Cuts of each crop that earlier networks are asked about, besides itself and its mirror image."""

_NORMED: Final = 4096
"""Crops from which a network read from ONNX, where batch norms are folded, gets norms again."""


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How long, how fast, from what.

    Attributes:
        epochs: passes over the training crops.
        batch: crops a step.
        rate: highest learning rate of the cycle.
        weight_decay: of weights, not of biases and batch norms.
        average: decay of the exponential average of weights.
        distil: share of a larger network that learns alongside in the small one's loss; 0: there
            is none.
        untouched: share of crops that are only moved: with all of them varied 28 epochs underfit.
        class_power: rare expressions weigh (1 / their share) to this power: more, and common ones
            are unlearnt.
        seed: of everything drawn.
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
        """See that every option is one that training can work with.

        Raises:
            ConfigError: one is not; it is named.
        """
        for name, low, high in (
            ("epochs", 1, 10_000), ("batch", 2, 4096), ("rate", 1e-9, 1), ("weight_decay", 0, 1),
            ("average", 0, 1), ("distil", 0, 1), ("untouched", 0, 1), ("class_power", 0, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option} {value}: expected {low:g} to {high:g}")


def _bfloat16_is_native() -> bool:
    """Tell whether the processor multiplies bfloat16 itself: emulated, a step takes 2.5 times."""
    # older versions of PyTorch do not tell
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Average:
    """The exponential average of a network's weights and batch-norm statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights; early on nearly all the way."""
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
        with torch.no_grad():  # without it the first thousand steps learn the label frequencies
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

    def begin_with(self, network: ExpressionNetwork) -> None:
        """Take over the weights of a network of the same widths."""
        self.network.load_state_dict(network.state_dict())
        self.average.network.load_state_dict(network.state_dict())

    def answer(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the heads' answers in training mode, float32; landmarks where there is a head."""
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=_bfloat16_is_native()):
            logits, affect, maps = self.network.with_maps(batch)
            points = self.landmarks(maps) if self.landmarks is not None else None
        return logits.float(), affect.float(), points

    def step(self, loss: Tensor) -> None:
        """Take one step down ``loss``."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update(self.network)

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {
            "network": self.network.state_dict(),
            "landmarks": self.landmarks.state_dict() if self.landmarks is not None else None,
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.network.load_state_dict(state["network"])
        if self.landmarks is not None:
            self.landmarks.load_state_dict(state["landmarks"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def concordance(predicted: Tensor, true: Tensor) -> Tensor:
    """Return Lin's concordance correlation coefficient of each column, (k,)."""
    mean_p, mean_t = predicted.mean(0), true.mean(0)
    covariance = ((predicted - mean_p) * (true - mean_t)).mean(0)
    spread = predicted.var(0, correction=0) + true.var(0, correction=0)
    return 2 * covariance / (spread + (mean_p - mean_t) ** 2 + 1e-6)


def heads_loss(
    logits: Tensor, affect: Tensor, shares: Tensor, target: Tensor, weights: Tensor
) -> Tensor:
    """Return the loss of both heads against votes (n, 8) and valence and arousal (n, 2)."""
    log_p = nnf.log_softmax(logits, 1)
    expression = -(shares * log_p * weights).sum(1).mean()
    values = 2 * torch.sigmoid(affect) - 1
    agreement = (1 - concordance(values, target)).mean()
    return expression + 0.5 * agreement + 2.0 * nnf.mse_loss(values, target)


@torch.no_grad()
def evaluate(network: nn.Module, crops: RatedCrops) -> dict[str, float]:
    """Return accuracy (of the majority's expression), macro F1, and CCC of valence and arousal."""
    network.eval()
    heads = [network(normalised(crops.pictures[at : at + 512])) for at in range(0, len(crops), 512)]
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
def guided(crops: RatedCrops, networks: Sequence[ExpressionNetwork], seed: int) -> RatedCrops:
    """Return ``crops`` with targets half the raters' and half what ``networks`` say together.

    They are asked about each crop as it is, mirrored, and as ``_CUTS`` other detectors would have
    cut it; their mean is the answer, as a network changes its mind with two pixels of the crop.
    """
    random = Generator().manual_seed(seed)
    shares = torch.zeros_like(crops.shares)
    for at in range(0, len(crops), 512):
        plain = crops.pictures[at : at + 512]
        cuts = (
            varied(plain, random, moves=movements(len(plain), random), untouched=1.0)
            for _ in range(_CUTS)
        )
        for view in (plain, plain.flip(3), *cuts):
            batch = normalised(view)
            for network in networks:
                shares[at : at + 512] += nnf.softmax(network(batch)[0], 1)
    shares = (1 - _GUIDED) * crops.shares + _GUIDED * shares / ((2 + _CUTS) * len(networks))
    return crops.with_shares(shares)


def train(
    data: Path,
    out: Path,
    options: TrainOptions,
    *,
    guides: Sequence[Path] = (),
    landmarks: Path | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train, writing ``last.pt`` after every epoch and ``log.jsonl``; return the test figures.

    A folder that holds ``last.pt`` of the same options is taken up where it stopped, in the state
    it would have had; ``stop_after`` stops there after so many epochs. With ``guides``, folders of
    earlier runs or ONNX files of their networks, the small network begins with the weights of the
    first of them and learns from the answers of all (born-again networks: Furlanello et al., ICML
    2018). With ``landmarks``, the file that ``scripts/find_landmarks.py`` made of ``data``, it has
    to say where they are as well (see ``exporters.recipes.landmarks``).

    Raises:
        ConfigError: an option does not fit, the data cannot be read, or ``out`` cannot be written
            or holds a run with other options.
    """
    options.check()
    crops, valid = read_ferplus(data, "train", landmarks), read_ferplus(data, "valid")
    if len(crops) < options.batch:
        raise ConfigError(f"--batch {options.batch}: more than the {len(crops)} training crops")
    _make_folder(out)
    torch.manual_seed(options.seed)
    random = Generator().manual_seed(options.seed)
    prior = crops.shares.mean(0).clamp_min(1e-3)
    weights = (1 / prior) ** options.class_power
    weights = weights / (weights * prior).sum()
    steps = options.epochs * (len(crops) // options.batch)
    taught = (STUDENT_WIDTHS, TEACHER_WIDTHS) if options.distil else (STUDENT_WIDTHS,)
    learners = [
        Learner(
            widths, steps, options, prior, landmarks=bool(landmarks) and widths == STUDENT_WIDTHS
        )
        for widths in taught
    ]
    earlier = [network for guide in guides for network in trained_networks(guide)]
    if earlier:
        if _is_file(guides[0]):
            some = crops.pictures[:_NORMED]
            moves = movements(len(some), random)
            like = varied(some, random, moves=moves, untouched=options.untouched)
            norms_set_anew(earlier[0], normalised(like))
        learners[0].begin_with(earlier[0])
    # what a resumed run has to have in common with the one that it takes up
    terms = {
        **dataclasses.asdict(options),
        "guides": [hashlib.sha256(_kept_in(guide).read_bytes()).hexdigest() for guide in guides],
        "landmarks": hashlib.sha256(landmarks.read_bytes()).hexdigest() if landmarks else "",
    }
    shapes = (
        Shapes(crops.landmarks[known(crops.landmarks)]) if crops.landmarks is not None else None
    )
    first = _resume(out / _LAST, learners, random, terms)
    if earlier:  # after it: minutes of work, in vain where the run is another
        if not (first and (out / _TARGETS).exists()):
            torch.save(guided(crops, earlier, options.seed).shares, out / _TARGETS)
        crops = crops.with_shares(torch.load(out / _TARGETS, weights_only=True))
    for epoch in range(first, min(options.epochs, stop_after or options.epochs)):
        watch = Stopwatch()
        order = torch.randperm(len(crops), generator=random)
        total = 0.0
        for start in range(0, len(order) - options.batch + 1, options.batch):
            chosen = order[start : start + options.batch]
            total += _learn(learners, crops.of(chosen), weights, options, random, shapes=shapes)
        watch.lap("epoch")
        row: dict[str, Any] = {"epoch": epoch + 1, "loss": total / (len(order) // options.batch)}
        for name, learner in zip(("student", "teacher"), learners, strict=False):
            row[name] = evaluate(learner.average.network, valid)
        row["seconds"] = round(watch.stage_ms["epoch"] / 1000, 1)
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        _save(out / _LAST, epoch + 1, learners, random, terms)
    network = calibrated(learners[0].average.network, valid)
    torch.save(network.state_dict(), out / _TRAINED)
    return evaluate(network, read_ferplus(data, "test"))


@torch.no_grad()
def average(data: Path, out: Path, parts: Sequence[Path]) -> dict[str, float]:
    """Write ``trained.pt``, the mean of the weights of ``parts``, and return the test figures.

    Runs, or ONNX files of their networks, that began with the same weights: what lies between
    such networks is often better than either (model soups: Wortsman et al., ICML 2022). The head
    is calibrated as after a run.

    Raises:
        ConfigError: a part or the data cannot be read, or ``out`` cannot be written or is a run.
    """
    networks = [
        folded(
            read_checkpoint(part, "--parts") if _is_file(part) else trained_network(part, "--parts")
        )
        for part in parts
    ]
    valid, test = read_ferplus(data, "valid"), read_ferplus(data, "test")
    _make_folder(out)
    if (out / _LAST).exists():
        raise ConfigError(f"--out {out}: holds a run; choose another")
    states = [each.state_dict() for each in networks]
    mean = networks[0]
    mean.load_state_dict(
        {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    )
    network = calibrated(mean, valid)
    torch.save(network.state_dict(), out / _TRAINED)
    return evaluate(network, test)


@torch.no_grad()
def calibrated(network: ExpressionNetwork, crops: RatedCrops) -> ExpressionNetwork:
    """Return ``network`` with its expression head set to how common and how sure labels are.

    Training weighs rare expressions more and learns from shares, not from labels: which label is
    the likeliest, and how likely, is put right on crops that were not trained on.
    """
    result = copy.deepcopy(network).eval()
    logits = torch.cat(
        [result(normalised(crops.pictures[at : at + 512]))[0] for at in range(0, len(crops), 512)]
    )
    with torch.enable_grad():
        temperature, offsets = fit_priors(logits, crops.shares.argmax(1), balance=0.0)
    head = result.expression
    head.weight.div_(temperature)
    head.bias.div_(temperature).add_(torch.tensor(offsets))
    return result


def _learn(
    learners: list[Learner],
    crops: RatedCrops,
    weights: Tensor,
    options: TrainOptions,
    random: Generator,
    *,
    shapes: Shapes | None,
) -> float:
    """Take one step of each network on one batch; return the small one's loss."""
    moves = movements(len(crops), random)
    varied_pictures = varied(crops.pictures, random, moves=moves, untouched=options.untouched)
    batch = normalised(varied_pictures).to(memory_format=torch.channels_last)
    shares, target = crops.shares, crops.affect
    student, *teachers = learners
    logits, affect, points = student.answer(batch)
    loss = heads_loss(logits, affect, shares, target, weights)
    for teacher in teachers:
        taught, taught_affect, _ = teacher.answer(batch)
        teacher.step(heads_loss(taught, taught_affect, shares, target, weights))
        guide = nnf.softmax(taught.detach() / 2, 1)
        distance = nnf.kl_div(nnf.log_softmax(logits / 2, 1), guide, reduction="batchmean") * 4
        drift = nnf.mse_loss(torch.sigmoid(affect), torch.sigmoid(taught_affect.detach())) * 4
        loss = (1 - options.distil) * loss + options.distil * (distance + 2 * drift)
    if shapes is not None:
        assert points is not None and crops.landmarks is not None  # noqa: PT018
        loss = loss + shapes.loss(points, moved_points(crops.landmarks, moves, MIRRORED))
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError("training diverged: the loss is not finite; lower --rate")
    student.step(loss)
    return value


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; expected a folder") from error


def _save(
    path: Path, epoch: int, learners: list[Learner], random: Generator, terms: Mapping[str, Any]
) -> None:
    state = {
        "terms": dict(terms),
        "epoch": epoch,
        "random": random.get_state(),
        "dropout": torch.get_rng_state(),
        "learners": [learner.state() for learner in learners],
    }
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _resume(
    path: Path, learners: list[Learner], random: Generator, terms: Mapping[str, Any]
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state.get("terms") != terms:
        raise ConfigError(
            f"--out {path.parent}: holds a run with other options or guides; choose another"
        )
    random.set_state(state["random"])
    torch.set_rng_state(state["dropout"])
    for learner, kept in zip(learners, state["learners"], strict=True):
        learner.restore(kept)
    return int(state["epoch"])


def _is_file(guide: Path) -> bool:
    """Tell whether ``guide`` is an ONNX file instead of a run's folder."""
    return guide.suffix == ".onnx"


def _kept_in(guide: Path) -> Path:
    return guide if _is_file(guide) else guide / _LAST


def trained_networks(run: Path) -> list[ExpressionNetwork]:
    """Return the networks of the folder that ``train`` wrote, the small one first.

    Of an ONNX file, the one that it holds.

    Raises:
        ConfigError: the folder holds no such run, or the file no such network.
    """
    if _is_file(run):
        return [read_checkpoint(run)]
    path = _kept_in(run)
    networks = []
    try:
        learners = torch.load(path, weights_only=True)["learners"]
        for widths, learner in zip((STUDENT_WIDTHS, TEACHER_WIDTHS), learners, strict=False):
            network = ExpressionNetwork(widths)
            network.load_state_dict(learner["average"])
            networks.append(network.eval())
        if not networks:
            raise LookupError("no network in it")
    except (OSError, EOFError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{run}: holds no {_LAST} that train wrote ({error})") from error
    return networks


def trained_network(run: Path, option: str = "--run") -> ExpressionNetwork:
    """Return the small network of a finished run, calibrated, ready to be read with.

    ``option`` is what named the folder, for messages.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    network = ExpressionNetwork(STUDENT_WIDTHS)
    try:
        network.load_state_dict(torch.load(run / _TRAINED, weights_only=True))
    except (OSError, EOFError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"{option} {run}: holds no {_TRAINED} that train wrote ({error})"
        ) from error
    return network.eval()
