"""Whether the runs of all devices have ended; reports two daemons that use one device name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edge.client import Received
from edge.clock import elapsed_ms, monotonic_ns
from edge.protocol.events import EpochEnded
from edge.protocol.messages import EventMessage, StatusMessage

_SILENT_MS: Final = 3000.0
"""A daemon sends a status each second: one that is silent for so long does not run."""

_ALTERNATIONS: Final = 6
"""The end of an earlier run may be received after the begin of the next one: not so often."""


_RUNS_MAX: Final = 16


@dataclass(slots=True)
class _Run:
    """The newest run of a stream."""

    last_ns: int
    has_ended: bool = False


@dataclass(slots=True)
class _Device:
    """The runs of a device by stream: without ``journal.path``, each has a stream of its own."""

    newest: str
    runs: dict[str, _Run] = field(default_factory=dict)
    alternations: int = 0

    def has_ended(self) -> bool:
        """Whether the newest run has ended, and no other one goes on."""
        return self.runs[self.newest].has_ended and all(
            run.has_ended or elapsed_ms(run.last_ns) >= _SILENT_MS for run in self.runs.values()
        )


class DeviceRuns:
    """Notes received messages. Not thread-safe.

    Args:
        report: takes a line when two daemons publish under one device name.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._devices: dict[str, _Device] = {}

    @property
    def ended(self) -> bool:
        """Whether every device that sent a message has ended its newest run."""
        return bool(self._devices) and all(each.has_ended() for each in self._devices.values())

    def note(self, received: Received) -> None:
        """Note a message that is not late."""
        message, now_ns = received.message, monotonic_ns()
        device = self._devices.setdefault(message.device, _Device(message.stream))
        run = device.runs.setdefault(message.stream, _Run(now_ns))
        run.last_ns = now_ns
        if isinstance(message, StatusMessage):  # one follows the end
            return
        run.has_ended = isinstance(message, EventMessage) and message.event == EpochEnded.event
        if device.newest == message.stream:
            return
        if not received.backfilled:
            device.alternations += 1
            if device.alternations == _ALTERNATIONS:
                self._report(
                    f"{message.device}: two daemons publish with this name (streams"
                    f" {device.newest} and {message.stream}); give each its own device.name"
                )
        device.newest = message.stream
        if len(device.runs) > _RUNS_MAX:
            del device.runs[next(iter(device.runs))]
