"""Builds the first message of an epoch: configuration, models and versions behind its results."""

import hashlib

from edge import __version__
from edge.board import Board
from edge.config import Config
from edge.config.recorded import recorded_config, versions
from edge.hub.identity import boot_id
from edge.protocol.events import EpochStarted, PreviousEpoch


def epoch_started(config: Config, board: Board, previous: PreviousEpoch | None) -> EpochStarted:
    """Return the event that starts an epoch: purpose, configuration, versions, machine.

    Args:
        config: in force.
        board: the machine.
        previous: how the epoch before ended, as the journal knows it.
    """
    covered = config.model_dump_json(exclude={"source": {"url"}, "alarms": {"webhook_url"}})
    return EpochStarted(
        version=__version__,
        purpose=config.device.purpose or "demo",
        source=config.source.kind,
        priors=config.expression.priors,  # needed to interpret probabilities
        boot_id=boot_id() or None,
        config_sha256=hashlib.sha256(covered.encode()).hexdigest(),
        rotate_deg=config.source.rotate_deg,
        flip=config.source.flip,
        previous=previous,
        config=recorded_config(config),
        versions=versions(),
        board=board.model(),
    )
