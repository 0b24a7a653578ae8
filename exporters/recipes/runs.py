"""The folder of a training run: saved state, resumed state, and finished networks."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Generator

from edge.errors import ConfigError
from edge.validation import file_errors
from exporters.recipes.networks import STUDENT_WIDTHS, TEACHER_WIDTHS, ExpressionNetwork
from exporters.recipes.onnx_file import read_checkpoint

TRAINED: Final = "trained.pt"
"""The finished student network."""

LAST: Final = "last.pt"
"""The state after the last epoch."""

TARGETS: Final = "targets.pt"
"""The targets that include the teachers' predictions; computing them takes minutes."""


class Resumable(Protocol):
    """What a run trains."""

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a ``state``."""


def make_folder(out: Path) -> None:
    """Create the folder of a run.

    Raises:
        ConfigError: it cannot be created.
    """
    with file_errors("--out", out, expected="a folder", kind=ConfigError):
        out.mkdir(parents=True, exist_ok=True)


def save_run(
    path: Path,
    epoch: int,
    learners: Sequence[Resumable],
    random: Generator,
    terms: Mapping[str, Any],
) -> None:
    """Write the state of a run, for ``restore_run``."""
    state = {
        "terms": dict(terms),
        "epoch": epoch,
        "random": random.get_state(),
        "dropout": torch.get_rng_state(),
        "learners": [learner.state() for learner in learners],
    }
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def restore_run(
    path: Path, learners: Sequence[Resumable], random: Generator, terms: Mapping[str, Any]
) -> int:
    """Restore a saved run; return its finished epochs (translate: steps), 0 if there is none.

    Raises:
        ConfigError: the saved run has other ``terms``.
    """
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state.get("terms") != terms:
        raise ConfigError(
            f"--out {path.parent}: holds a run with other options or teachers; choose another"
        )
    random.set_state(state["random"])
    torch.set_rng_state(state["dropout"])
    for learner, kept in zip(learners, state["learners"], strict=True):
        learner.restore(kept)
    return int(state["epoch"])


def is_onnx_file(run: Path) -> bool:
    """Return whether ``run`` is an ONNX file instead of the folder of a run."""
    return run.suffix == ".onnx"


def state_file(run: Path) -> Path:
    """Return the file that holds the weights of a run."""
    return run if is_onnx_file(run) else run / LAST


def load_networks(run: Path) -> list[ExpressionNetwork]:
    """Return the networks of a run, the student first, or the network of an ONNX file.

    Raises:
        ConfigError: the folder holds no run, or the file another network.
    """
    if is_onnx_file(run):
        return [read_checkpoint(run)]
    path = state_file(run)
    networks = []
    try:
        learners = torch.load(path, weights_only=True)["learners"]
        for widths, learner in zip((STUDENT_WIDTHS, TEACHER_WIDTHS), learners, strict=False):
            network = ExpressionNetwork(widths)
            network.load_state_dict(learner["average"])
            networks.append(network.eval())
        if not networks:
            raise LookupError("it holds no network")
    except (OSError, EOFError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{run}: holds no {LAST} that train wrote ({error})") from error
    return networks


def load_trained(run: Path, option: str = "--run") -> ExpressionNetwork:
    """Return the calibrated small network of a finished run, in evaluation mode.

    ``option`` is the option that named the folder, for messages.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    network = ExpressionNetwork(STUDENT_WIDTHS)
    try:
        network.load_state_dict(torch.load(run / TRAINED, weights_only=True))
    except (OSError, EOFError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"{option} {run}: holds no {TRAINED} that train wrote ({error})"
        ) from error
    return network.eval()
