"""First stage: trains expression, valence and arousal on FER+, visible-light crops.

With ``--distil`` a larger network trains on the same pictures at the same time, and the small one
also learns from its predictions (online distillation: Anil et al., ICLR 2018). With ``--guides``
earlier networks are the teachers. With ``--landmarks`` the small network also learns to locate the
landmarks of each face. With ``--seen-by`` it trains on the crops as a generator of ``translate``
shows them. The result is the exponential average of the weights.
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
from exporters.recipes.augmentation import augment, draw_movements, move_points, normalise
from exporters.recipes.ferplus import RatedCrops, read_ferplus
from exporters.recipes.finish import calibrate_head, evaluate
from exporters.recipes.generators import Generator as Translator
from exporters.recipes.generators import translate_pictures
from exporters.recipes.landmarks import MIRRORED, Shapes, are_known
from exporters.recipes.learner import Learner, TrainOptions, heads_loss
from exporters.recipes.networks import STUDENT_WIDTHS, TEACHER_WIDTHS, ExpressionNetwork
from exporters.recipes.onnx_file import reset_batch_norms
from exporters.recipes.runs import (
    LAST,
    TARGETS,
    TRAINED,
    is_onnx_file,
    load_networks,
    make_folder,
    restore_run,
    save_run,
    state_file,
)
from exporters.recipes.translate import load_to_nir

_TEACHERS_SHARE: Final = 0.5
"""Weight of the teachers' predictions in the targets."""

_JITTERED: Final = 6
"""Jittered versions of each crop that the teachers predict, besides it and its mirror image."""

_NORM_CROPS: Final = 4096
"""Crops that set the batch norms of a network from an ONNX file, where they are folded."""


@torch.no_grad()
def add_teacher_targets(
    crops: RatedCrops, teachers: Sequence[ExpressionNetwork], seed: int
) -> RatedCrops:
    """Return ``crops`` with targets: half the annotators' votes, half the teachers' predictions.

    The teachers predict each crop as it is, mirrored, and jittered ``_JITTERED`` times: a shift of
    two pixels can change a network's prediction.
    """
    random = Generator().manual_seed(seed)
    shares = torch.zeros_like(crops.shares)
    for at in range(0, len(crops), 512):
        plain = crops.pictures[at : at + 512]
        cuts = (
            augment(plain, random, moves=draw_movements(len(plain), random), unchanged=1.0)
            for _ in range(_JITTERED)
        )
        for view in (plain, plain.flip(3), *cuts):
            batch = normalise(view)
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
    seen_by: Path | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train; write ``last.pt`` and a line of ``log.jsonl`` per epoch; return the test figures.

    If ``out`` holds ``last.pt`` of a run with the same options, training resumes there and ends in
    the same weights as an uninterrupted run.

    Args:
        data: ``ferplus.npz``.
        out: folder of the run.
        options: how to train.
        teachers: folders of earlier runs, or ONNX files of their networks. The small network
            starts from the weights of the first one and learns from the predictions of all
            (born-again networks: Furlanello et al., ICML 2018).
        landmarks: the file that ``scripts/find_landmarks.py`` made of ``data``; the small network
            also learns to locate them (see ``exporters.recipes.landmarks``).
        seen_by: a run of ``translate``: all crops, also those of calibration and test, are
            replaced by what its generator of near-infrared pictures makes of them. Teachers predict
            the original crops.
        stop_after: epochs after which to stop, for tests of resuming.

    Raises:
        ConfigError: an option is wrong, the data cannot be read, or ``out`` cannot be written or
            holds a run with other options.
    """
    options.check()
    generator = load_to_nir(seen_by, "--seen-by") if seen_by else None
    crops = read_ferplus(data, "train", landmarks)
    valid = _seen(read_ferplus(data, "valid"), generator)
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
    teacher_networks = [network for run in teachers for network in load_networks(run)]
    if teacher_networks:
        if is_onnx_file(teachers[0]):
            sample = crops.pictures[:_NORM_CROPS]
            moves = draw_movements(len(sample), random)
            jittered = augment(sample, random, moves=moves, unchanged=options.untouched)
            reset_batch_norms(teacher_networks[0], normalise(jittered))
        learners[0].start_from(teacher_networks[0])
    # only a run with the same terms is resumed; the key is the option's name
    terms = {
        **dataclasses.asdict(options),
        "guides": [hashlib.sha256(state_file(run).read_bytes()).hexdigest() for run in teachers],
        "landmarks": hashlib.sha256(landmarks.read_bytes()).hexdigest() if landmarks else "",
        **(
            {"seen_by": hashlib.sha256((seen_by / LAST).read_bytes()).hexdigest()}
            if seen_by
            else {}
        ),
    }
    shapes = (
        Shapes(crops.landmarks[are_known(crops.landmarks)]) if crops.landmarks is not None else None
    )
    first = restore_run(out / LAST, learners, random, terms)
    if teacher_networks:  # after restore_run, which refuses other terms: this takes minutes
        if not (first and (out / TARGETS).exists()):
            torch.save(
                add_teacher_targets(crops, teacher_networks, options.seed).shares, out / TARGETS
            )
        crops = crops.with_shares(torch.load(out / TARGETS, weights_only=True))
    crops = _seen(crops, generator)
    for epoch in range(first, min(options.epochs, stop_after or options.epochs)):
        watch = Stopwatch()
        order = torch.randperm(len(crops), generator=random)
        total = 0.0
        for start in range(0, len(order) - options.batch + 1, options.batch):
            chosen = order[start : start + options.batch]
            total += _train_step(
                learners, crops.select(chosen), weights, options, random, shapes=shapes
            )
        watch.lap("epoch")
        row: dict[str, Any] = {"epoch": epoch + 1, "loss": total / (len(order) // options.batch)}
        for name, learner in zip(("student", "teacher"), learners, strict=False):
            row[name] = evaluate(learner.average.network, valid)
        row["seconds"] = round(watch.stage_ms["epoch"] / 1000, 1)
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        save_run(out / LAST, epoch + 1, learners, random, terms)
    network = calibrate_head(learners[0].average.network, valid)
    torch.save(network.state_dict(), out / TRAINED)
    return evaluate(network, _seen(read_ferplus(data, "test"), generator))


def _seen(crops: RatedCrops, generator: Translator | None) -> RatedCrops:
    """Return ``crops`` with the pictures that ``generator`` makes of them, if there is one."""
    if generator is None:
        return crops
    return dataclasses.replace(crops, pictures=translate_pictures(generator, crops.pictures))


def _train_step(
    learners: list[Learner],
    crops: RatedCrops,
    weights: Tensor,
    options: TrainOptions,
    random: Generator,
    *,
    shapes: Shapes | None,
) -> float:
    """Take one step of each network on one batch; return the student's loss."""
    moves = draw_movements(len(crops), random)
    pictures = augment(crops.pictures, random, moves=moves, unchanged=options.untouched)
    batch = normalise(pictures).to(memory_format=torch.channels_last)
    shares, target = crops.shares, crops.affect
    student, *larger = learners
    logits, affect, points = student.forward(batch)
    loss = heads_loss(logits, affect, shares, target, weights)
    for teacher in larger:
        teacher_logits, teacher_affect, _ = teacher.forward(batch)
        teacher.step(heads_loss(teacher_logits, teacher_affect, shares, target, weights))
        soft = nnf.softmax(teacher_logits.detach() / 2, 1)
        distance = nnf.kl_div(nnf.log_softmax(logits / 2, 1), soft, reduction="batchmean") * 4
        affect_distance = (
            nnf.mse_loss(torch.sigmoid(affect), torch.sigmoid(teacher_affect.detach())) * 4
        )
        loss = (1 - options.distil) * loss + options.distil * (distance + 2 * affect_distance)
    if shapes is not None:
        assert points is not None and crops.landmarks is not None  # noqa: PT018
        loss = loss + shapes.loss(points, move_points(crops.landmarks, moves, MIRRORED))
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError("training diverged: the loss is not finite; lower --rate")
    student.step(loss)
    return value
