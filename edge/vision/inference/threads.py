"""How many threads a network may use where its ``threads`` is ``"auto"``.

The worker runs capture, detection and classification in threads of their own, so that frames
overlap. A network's own threads only shorten the delay, and only on cores that nothing else needs:
on those of another stage they would cost rate. So each stage gets a core, and only cores that are
left are for networks. ``edge.vision.inference.choice`` measures whether they gain anything.

Where no frame waits for another, as in recordings and with ``--no-pace``, it is one thread:
runtimes do not promise the same digits for any number of threads, and there delay is nothing.
"""

import os
from typing import Final, Literal, NamedTuple

from edge.vision.inference.manifest import Task

Threads = int | Literal["auto"]

_STAGES: Final = 3
"""Cores that are taken: detection, classification, and one for capture, link and hub."""

_MOST: Final = 4
"""More threads gain nothing for networks of this size."""


def stages_share_cores() -> bool:
    """Return whether this machine has fewer cores for this process than the worker has stages."""
    return len(os.sched_getaffinity(0)) < _STAGES


class MostThreads(NamedTuple):
    """Most threads of a network by the stage that runs it.

    The networks of a stage run one after another, so they share its cores.
    """

    detect: int = 1
    classify: int = 1

    @classmethod
    def of_cores(cls, cores: int) -> "MostThreads":
        """Return the numbers for a worker that has so many cores."""
        left = max(0, cores - _STAGES)
        # a full look takes longest of all, so detection comes first
        return cls(min(_MOST, 1 + (left + 1) // 2), min(_MOST, 1 + left // 2))

    @classmethod
    def here(cls) -> "MostThreads":
        """Return the numbers for a worker on this machine."""
        return cls.of_cores(len(os.sched_getaffinity(0)))

    def of_task(self, task: Task) -> int:
        """Return the number for a network of this task."""
        return self.detect if task == "face-detection" else self.classify


ONE_THREAD: Final = MostThreads()
"""For networks that no frame waits for: ``"auto"`` is one thread."""
