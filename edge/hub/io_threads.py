"""ZeroMQ's own threads, and the processor on which they run."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger("affect_edge")

_TASKS: Final = Path("/proc/self/task")
_NAME: Final = "ZMQbg/IO/"  # as libzmq calls them


def share_processor() -> bool:
    """Let the calling thread and all of ZeroMQ's threads of this process run on one processor.

    Returns whether the system allows it.

    Then ZeroMQ never runs for long while the calling thread waits for a processor, however busy the
    others are. It is the last one, since interrupts are usually handled by the first.
    """
    processor = {max(os.sched_getaffinity(0))}
    try:
        for thread in [0, *_threads()]:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(thread, processor)
    except OSError as error:  # forbidden, or no /proc
        log.warning(
            "connections that flood may cost more memory than 64 MB, as the guard's thread cannot"
            " choose its processor: sched_setaffinity: %s; allow it, as the unit file does",
            error.strerror,
        )
        return False
    return True


def _threads() -> list[int]:
    """Return the thread ids of ZeroMQ's threads."""
    found = []
    for task in _TASKS.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if (task / "comm").read_text().startswith(_NAME):
                found.append(int(task.name))
    return found
