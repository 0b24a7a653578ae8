"""First stage: trains expression, valence and arousal on FER+, visible-light crops.

With ``--distil`` a larger network trains together with the small one, on the same pictures, and the
small one also learns from its predictions (online distillation: Anil et al., ICLR 2018). With
``--guides`` earlier networks are the teachers. With ``--landmarks`` the small one also learns where
the landmarks of each face are. The result is the exponential average of the weights.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from edge.clock import Stopwatch
from edge.errors import ConfigError
from exporters.recipes.augmentation import augmented, moved_points, movements, normalised
from exporters.recipes.ferplus import RatedCrops, read_ferplus
from exporters.recipes.finish import calibrated, evaluate
from exporters.recipes.landmarks import MIRRORED, Shapes, known
from exporters.recipes.learner import Learner, TrainOptions, heads_loss
from exporters.recipes.networks import STUDENT_WIDTHS, TEACHER_WIDTHS, ExpressionNetwork
from exporters.recipes.onnx_file import reset_norms
from exporters.recipes.runs import (
    LAST,
    TARGETS,
    TRAINED,
    is_onnx_file,
    make_folder,
    resume,
    save,
    state_file,
    trained_networks,
)

_TEACHERS_SHARE: Final = 0.5
"""Share of the teachers' predictions in the targets."""

_JITTERED: Final = 6
"""Jittered versions of each crop that the teachers predict, besides it and its mirror image."""

_NORM_CROPS: Final = 4096
"""Crops that give a network from an ONNX file its batch norms again: they are folded there."""


@torch.no_grad()
def with_soft_targets(
    crops: RatedCrops, teachers: Sequence[ExpressionNetwork], seed: int
) -> RatedCrops:
    """Return ``crops`` with targets half the raters' and half the mean of the teachers'.

    The teachers predict each crop as it is, mirrored, and jittered ``_JITTERED`` times, as other
    detectors would have cut it: a shift of two pixels can change a network's prediction.
    """
    random = Generator().manual_seed(seed)
    shares = torch.zeros_like(crops.shares)
    for at in range(0, len(crops), 512):
        plain = crops.pictures[at : at + 512]
        cuts = (
            augmented(plain, random, moves=movements(len(plain), random), untouched=1.0)
            for _ in range(_JITTERED)
        )
        for view in (plain, plain.flip(3), *cuts):
            batch = normalised(view)
            for network in teachers:
                shares[at : at + 512] += nnf.softmax(network(batch)[0], 1)
    predicted = shares / ((2 + _JITTERED) * len(teachers))
    shares = (1 - _TEACHERS_SHARE) * crops.shares + _TEACHERS_SHARE * predicted
    return crops.with_shares(shares)


def train(
    data: Path,
    out: Path,
    options: TrainOptions,
    *,
    teachers: Sequence[Path] = (),
    landmarks: Path | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train, writing ``last.pt`` after every epoch and ``log.jsonl``; return the test figures.

    Where ``out`` holds ``last.pt`` of the same options, training resumes there, and ends in the
    same weights as an uninterrupted run.

    Args:
        data: ``ferplus.npz``.
        out: folder of the run.
        options: how to train.
        teachers: folders of earlier runs, or ONNX files of their networks. The small network
            starts from the weights of the first one and learns from the predictions of all
            (born-again networks: Furlanello et al., ICML 2018).
        landmarks: the file that ``scripts/find_landmarks.py`` made of ``data``; the small network
            also learns to locate them (see ``exporters.recipes.landmarks``).
        stop_after: epochs after which to stop, as an interruption would.

    Raises:
        ConfigError: an option does not fit, the data cannot be read, or ``out`` cannot be written
            or holds a run with other options.
    """
    options.check()
    crops, valid = read_ferplus(data, "train", landmarks), read_ferplus(data, "valid")
    if len(crops) < options.batch:
        raise ConfigError(f"--batch {options.batch}: more than the {len(crops)} training crops")
    make_folder(out)
    torch.manual_seed(options.seed)
    random = Generator().manual_seed(options.seed)
    prior = crops.shares.mean(0).clamp_min(1e-3)
    weights = (1 / prior) ** options.class_power
    weights = weights / (weights * prior).sum()
    steps = options.epochs * (len(crops) // options.batch)
    widths_of = (STUDENT_WIDTHS, TEACHER_WIDTHS) if options.distil else (STUDENT_WIDTHS,)
    learners = [
        Learner(
            widths, steps, options, prior, landmarks=bool(landmarks) and widths == STUDENT_WIDTHS
        )
        for widths in widths_of
    ]
    earlier = [network for run in teachers for network in trained_networks(run)]
    if earlier:
        if is_onnx_file(teachers[0]):
            some = crops.pictures[:_NORM_CROPS]
            moves = movements(len(some), random)
            jittered = augmented(some, random, moves=moves, untouched=options.untouched)
            reset_norms(earlier[0], normalised(jittered))
        learners[0].begin_with(earlier[0])
    # a run is only resumed under the same terms; the key is the option's name
    terms = {
        **dataclasses.asdict(options),
        "guides": [hashlib.sha256(state_file(run).read_bytes()).hexdigest() for run in teachers],
        "landmarks": hashlib.sha256(landmarks.read_bytes()).hexdigest() if landmarks else "",
    }
    shapes = (
        Shapes(crops.landmarks[known(crops.landmarks)]) if crops.landmarks is not None else None
    )
    first = resume(out / LAST, learners, random, terms)
    if earlier:  # only now: it takes minutes, and resume refuses a run with other terms
        if not (first and (out / TARGETS).exists()):
            torch.save(with_soft_targets(crops, earlier, options.seed).shares, out / TARGETS)
        crops = crops.with_shares(torch.load(out / TARGETS, weights_only=True))
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
        save(out / LAST, epoch + 1, learners, random, terms)
    network = calibrated(learners[0].average.network, valid)
    torch.save(network.state_dict(), out / TRAINED)
    return evaluate(network, read_ferplus(data, "test"))


def _learn(
    learners: list[Learner],
    crops: RatedCrops,
    weights: Tensor,
    options: TrainOptions,
    random: Generator,
    *,
    shapes: Shapes | None,
) -> float:
    """Take one step of each network on one batch; return the student's loss."""
    moves = movements(len(crops), random)
    augmented_pictures = augmented(crops.pictures, random, moves=moves, untouched=options.untouched)
    batch = normalised(augmented_pictures).to(memory_format=torch.channels_last)
    shares, target = crops.shares, crops.affect
    student, *larger = learners
    logits, affect, points = student.forward(batch)
    loss = heads_loss(logits, affect, shares, target, weights)
    for teacher in larger:
        taught, taught_affect, _ = teacher.forward(batch)
        teacher.step(heads_loss(taught, taught_affect, shares, target, weights))
        soft = nnf.softmax(taught.detach() / 2, 1)
        distance = nnf.kl_div(nnf.log_softmax(logits / 2, 1), soft, reduction="batchmean") * 4
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
