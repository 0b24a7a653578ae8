"""Trains two generators without pairs: near infrared to visible light, and back.

The visible-light faces are FER+ crops; the near-infrared ones are annotated photographs. Each step
draws both so that they show the expressions equally often: if one set smiled more than the other,
the discriminator would teach the generator to change expressions. The features that the expression
network finds must stay, too, up to a shift and a scale that is the same for all faces.

The result is the exponential average of the weights. On a processor it does not depend on where a
run was stopped and resumed; on an accelerator sums are not made in a fixed order.
"""

import dataclasses
import hashlib
import json
import math
import pickle
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as nnf
from torch import Generator as Random
from torch import Tensor, nn

from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.augmentation import augment, draw_movements, normalise
from exporters.recipes.ferplus import RatedCrops, read_ferplus
from exporters.recipes.generators import Discriminator, Generator, multiply_adds, write_generator
from exporters.recipes.learner import Average, check_ranges, has_native_bfloat16
from exporters.recipes.networks import SIDE, ExpressionNetwork
from exporters.recipes.nirfaces import NirFaces, load_nir_faces, random_crops
from exporters.recipes.runs import LAST, load_networks, make_folder, restore_run, save_run

TO_VISIBLE: Final = "nir_to_visible.onnx"
TO_NIR: Final = "visible_to_nir.onnx"

_MULTIPLY_ADDS_MAX: Final = 60_000_000
"""So that a small board can run it; the bundled expression network has 38 million."""

_SAVE_STEPS: Final = 25
_PEOPLE_MIN: Final = 2
_MARGIN: Final = 0.05
"""Of near-infrared crops: the expression network's."""

_WARM_UP: Final = 0.05
"""Share of the steps before the discriminators count: the generators first learn to copy."""


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """Options of the training.

    Attributes:
        steps: batches of each spectrum.
        batch: pictures of each spectrum per step.
        side: of the pictures, pixels, a multiple of 4.
        filters: channels after a generator's first convolution; its others have 2 and 4 times as
            many.
        blocks: residual blocks of a generator.
        rate: learning rate of the first half; it then falls to 0.
        cycle: weight of the difference after translation there and back.
        identity: weight of the difference of a picture that is in the wanted spectrum already.
        features: weight of the difference of the expression network's features.
        average: decay of the exponential average of weights.
        seed: of all random numbers.
    """

    steps: int = 4000
    batch: int = 24
    side: int = SIDE
    filters: int = 8
    blocks: int = 4
    rate: float = 1e-3
    cycle: float = 10.0
    identity: float = 2.0
    features: float = 2.0
    average: float = 0.995
    seed: int = 20261128

    def check(self) -> None:
        """Check the range of every option, and the cost of the generator.

        Raises:
            ConfigError: an option is out of range; the message names it.
        """
        check_ranges(
            self,
            ("steps", 1, 10_000_000), ("batch", 2, 4096), ("side", 48, 128), ("filters", 1, 64),
            ("blocks", 1, 9), ("rate", 1e-9, 1), ("cycle", 0, 1000), ("identity", 0, 1000),
            ("features", 0, 1000), ("average", 0, 1),
        )  # fmt: skip
        if self.side % 4:
            raise ConfigError(f"--side {self.side}: expected a multiple of 4")
        cost = multiply_adds(self.side, self.filters, self.blocks)
        if cost > _MULTIPLY_ADDS_MAX:
            raise ConfigError(
                f"--side {self.side} --filters {self.filters} --blocks {self.blocks}:"
                f" {cost / 1e6:.0f} million multiply-adds a face; expected at most"
                f" {_MULTIPLY_ADDS_MAX // 10**6}: lower one of them"
            )


class Translation:
    """Both generators and both discriminators in training."""

    def __init__(
        self, options: TranslateOptions, expression: ExpressionNetwork, device: torch.device
    ) -> None:
        self._options = options
        self._device = device
        self._expression = expression.to(device).requires_grad_(False).eval()
        made = [Generator(options.filters, options.blocks) for _ in range(2)]
        self.to_visible, self.to_nir = (self._placed(each) for each in made)
        self._visible_judge, self._nir_judge = (self._placed(Discriminator()) for _ in range(2))
        self._averages = [Average(each, options.average) for each in (self.to_visible, self.to_nir)]
        self._generators_optimiser = self._optimiser(self.to_visible, self.to_nir)
        self._judges_optimiser = self._optimiser(self._visible_judge, self._nir_judge)

    def _placed(self, network: nn.Module) -> Any:
        return network.to(self._device, memory_format=torch.channels_last)

    def _optimiser(self, *networks: nn.Module) -> torch.optim.Optimizer:
        weights = [each for network in networks for each in network.parameters()]
        return torch.optim.Adam(weights, lr=self._options.rate, betas=(0.5, 0.999))

    def step(self, number: int, nir: Tensor, visible: Tensor) -> dict[str, float]:
        """Take step ``number``, from 0, with pictures (n, 1, side, side) of 0..1; return losses."""
        options = self._options
        share = number / options.steps
        for optimiser in (self._generators_optimiser, self._judges_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = options.rate * min(1.0, 2 * (1 - share))
        nir, visible = (
            (2 * each - 1).to(self._device, memory_format=torch.channels_last)
            for each in (nir, visible)
        )
        is_adversarial = share >= _WARM_UP
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_halved()):
            losses, made = self._generators_losses(nir, visible, is_adversarial=is_adversarial)
        total = sum(losses.values(), torch.zeros((), device=self._device))
        self._descend(self._generators_optimiser, total)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_halved()):
            pairs = ((self._visible_judge, visible, made[0]), (self._nir_judge, nir, made[1]))
            wrong = sum(
                (
                    (judge(real).float() - 1).square().mean()
                    + judge(fake.detach()).float().square().mean()
                    for judge, real, fake in pairs
                ),
                torch.zeros((), device=self._device),
            )
        self._descend(self._judges_optimiser, wrong)
        for average, network in zip(self._averages, (self.to_visible, self.to_nir), strict=True):
            average.update(network)
        return {
            **{name: float(loss.detach()) for name, loss in losses.items()},
            "discriminators": float(wrong.detach()),
        }

    def _is_halved(self) -> bool:
        return self._device.type != "cpu" or has_native_bfloat16()

    def _generators_losses(
        self, nir: Tensor, visible: Tensor, *, is_adversarial: bool
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Return the weighted losses of the generators, and the pictures made: visible, nir."""
        options, count = self._options, len(nir)
        made_visible, same_visible = self.to_visible(torch.cat([nir, visible])).split(count)
        made_nir, same_nir = self.to_nir(torch.cat([visible, nir])).split(count)
        cycles = (
            (self.to_nir(made_visible), nir), (self.to_visible(made_nir), visible),
        )  # fmt: skip
        sames = ((same_visible, visible), (same_nir, nir))
        losses = {
            "cycle": options.cycle * sum(nnf.l1_loss(one.float(), two) for one, two in cycles),
            "identity": options.identity * sum(nnf.l1_loss(one.float(), two) for one, two in sames),
        }
        if options.features:
            pairs = ((made_visible, nir), (made_nir, visible))
            losses["features"] = options.features * sum(
                nnf.mse_loss(self._features(made), self._features(original))
                for made, original in pairs
            )
        if is_adversarial:
            judged = (self._visible_judge(made_visible), self._nir_judge(made_nir))
            losses["adversarial"] = sum((each.float() - 1).square().mean() for each in judged)
        return losses, (made_visible, made_nir)

    def _features(self, pictures: Tensor) -> Tensor:
        """Return the expression network's features (n, 192), each standardised over the batch."""
        scaled = nnf.interpolate((pictures.float() + 1) / 2, size=(SIDE, SIDE), mode="area")
        features = self._expression.body(normalise(scaled)).float()
        spread = features.std(0, correction=0, keepdim=True)
        return (features - features.mean(0, keepdim=True)) / (spread + 0.1)

    @staticmethod
    def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        if not math.isfinite(float(loss.detach())):
            raise ConfigError("training diverged: the loss is not finite; lower --rate")
        # a generator's loss also reaches the discriminators, and not the other way round
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def generators(self) -> tuple[Generator, Generator]:
        """Return the averaged generators, NIR to visible and back, on the processor."""
        to_visible, to_nir = (average.network.cpu() for average in self._averages)
        return to_visible, to_nir

    def _parts(self) -> dict[str, Any]:
        return {
            "to_visible": self.to_visible, "to_nir": self.to_nir,
            "visible_judge": self._visible_judge, "nir_judge": self._nir_judge,
            "to_visible_average": self._averages[0].network,
            "to_nir_average": self._averages[1].network,
            "generators_optimiser": self._generators_optimiser,
            "judges_optimiser": self._judges_optimiser,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        steps = [average.steps for average in self._averages]
        return {name: part.state_dict() for name, part in self._parts().items()} | {"steps": steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a ``state``."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for average, steps in zip(self._averages, state["steps"], strict=True):
            average.steps = steps


def translate(
    data: Path,
    images: Path,
    labels: Path,
    out: Path,
    options: TranslateOptions,
    *,
    expression: Path,
    left_out: Collection[str] = (),
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train; write both generators in ONNX, ``last.pt`` and a line of ``log.jsonl`` every 25 steps.

    If ``out`` holds ``last.pt`` of a run with the same options, training resumes there and ends in
    the same weights as an uninterrupted run.

    Args:
        data: ``ferplus.npz``; its training split is used.
        images: near-infrared photographs.
        labels: their annotations (see ``benchmarks accuracy``).
        out: folder of the run.
        options: how to train.
        expression: a run of ``train``, or the ONNX file of its network, whose features are kept.
        left_out: people whose photographs are not used.
        stop_after: steps after which to stop, for tests of resuming.

    Returns:
        Multiply-adds of a generator, people and photographs trained on, people left out, device.

    Raises:
        ConfigError: an option is wrong, the data cannot be read, people are unknown or too few
            remain, or ``out`` cannot be written or holds a run with other options.
    """
    options.check()
    network = load_networks(expression)[0]
    visible = read_ferplus(data, "train")
    nir = _without(load_nir_faces(images, labels, _MARGIN, options.side), left_out)
    make_folder(out)
    torch.manual_seed(options.seed)
    random = Random().manual_seed(options.seed)
    terms = {
        **dataclasses.asdict(options),
        "left_out": sorted(left_out),
        **{
            name: hashlib.sha256(content).hexdigest()
            for name, content in (
                ("data", visible.pictures.numpy().tobytes()),
                ("photographs", nir.patches.numpy().tobytes()),
                ("expression", _weights_of(network)),
            )
        },
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Translation(options, network, device)
    step = restore_run(out / LAST, [training], random, terms)
    batches = Batches(visible, nir, options, random)
    started_ns, begun = monotonic_ns(), step
    last = min(options.steps, stop_after or options.steps)
    while step < last:
        losses = training.step(step, *batches.draw())
        step += 1
        if step % _SAVE_STEPS == 0 or step == last:
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, **losses}) + "\n")
            save_run(out / LAST, step, [training], random, terms)
            _report(step, options.steps, elapsed_ms(started_ns) / (step - begun), losses)
    for name, each in zip((TO_VISIBLE, TO_NIR), training.generators(), strict=True):
        write_generator(each, out / name, options.side)
    return {
        "multiply_adds": multiply_adds(options.side, options.filters, options.blocks),
        "people": sorted(set(nir.subjects)),
        "left_out": sorted(left_out),
        "photographs": len(nir),
        "device": device.type,
    }


def load_to_nir(run: Path, option: str) -> Generator:
    """Return the generator from visible light to near infrared of a run of ``translate``.

    ``option`` is the option that named the folder, for messages.

    Raises:
        ConfigError: the folder holds no such run.
    """
    try:
        saved = torch.load(run / LAST, weights_only=True, map_location="cpu")
        network = Generator(saved["terms"]["filters"], saved["terms"]["blocks"])
        network.load_state_dict(saved["learners"][0]["to_nir_average"])
    except (OSError, EOFError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{option} {run}: holds no {LAST} that translate wrote") from error
    return network.eval()


def _weights_of(network: ExpressionNetwork) -> bytes:
    return b"".join(each.numpy().tobytes() for each in network.state_dict().values())


def _without(nir: NirFaces, left_out: Collection[str]) -> NirFaces:
    """Return the photographs of other people than ``left_out``.

    Raises:
        ConfigError: there is no such person, or fewer than two people remain.
    """
    people = set(nir.subjects)
    if unknown := sorted(set(left_out) - people):
        raise ConfigError(
            f"--leave-out {','.join(unknown)}: not in --labels; expected some of"
            f" {','.join(sorted(people))}"
        )
    if len(people - set(left_out)) < _PEOPLE_MIN:
        raise ConfigError(
            f"--leave-out: {len(people - set(left_out))} of {len(people)} people remain; expected"
            f" {_PEOPLE_MIN} or more to train on"
        )
    return nir.part(nir.indices_of(people - set(left_out)))


class Batches:
    """Draws batches of both spectra with the same shares of expressions."""

    def __init__(
        self, visible: RatedCrops, nir: NirFaces, options: TranslateOptions, random: Random
    ) -> None:
        """Prepare the draws; all random numbers come from ``random``.

        Raises:
            ConfigError: the two have no expression in common.
        """
        self._visible, self._nir, self._options, self._random = visible, nir, options, random
        shown = visible.shares.argmax(1)
        here = torch.bincount(nir.labels, minlength=len(EXPRESSIONS)).double()
        there = torch.bincount(shown, minlength=len(EXPRESSIONS)).double()
        both = (here > 0) & (there > 0)
        if not both.any():
            raise ConfigError("--labels: none of their expressions is in --data; expected the same")
        weight = torch.where(both, 1.0, 0.0)
        self._visible_weights = (weight * here / there.clamp_min(1))[shown]
        self._nir_weights = weight[nir.labels]

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return a batch in near infrared and one in visible light, moved and mirrored."""
        count, side = self._options.batch, self._options.side
        of_nir, of_visible = (
            torch.multinomial(weights, count, replacement=True, generator=self._random)
            for weights in (self._nir_weights, self._visible_weights)
        )
        nir = random_crops(self._nir.patches[of_nir], self._random, _MARGIN)
        moves = draw_movements(count, self._random)
        visible = augment(
            self._visible.pictures[of_visible], self._random, moves=moves, unchanged=1.0
        )
        if side != SIDE:
            visible = nnf.interpolate(visible, size=(side, side), mode="bilinear")
        return nir, visible


def _report(step: int, steps: int, step_ms: float, losses: dict[str, float]) -> None:
    left = math.ceil((steps - step) * step_ms / 60_000)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in losses.items())
    print(f"translate: step {step} of {steps}, {left} min left; {shown}", file=sys.stderr)
