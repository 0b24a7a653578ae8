"""Writes the state of the wall clock to a file, for services that may not ask the kernel.

``python -m edge.clock_health FILE``, as systemd/affect-edge-clock.service runs it: one line,
replaced every 15 s, which ``edge.clock.wall_clock_health`` reads. It needs no rights, no network.
"""

import contextlib
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge import clock

_PERIOD_S: Final = 15.0


def write_health(path: Path) -> None:
    """Replace ``path`` by the present state of the wall clock.

    Raises:
        PermissionError: the kernel refuses ``adjtimex(2)``.
        OSError: the file cannot be written.
    """
    health = clock.kernel_clock_health()
    if health is None:
        raise PermissionError("the kernel refuses adjtimex(2)")
    new = path.with_name(f"{path.name}.new")
    new.write_text(clock.health_line(health))
    os.replace(new, path)


def main(arguments: Sequence[str]) -> int:
    """Write until SIGTERM; return 78 for a wrong argument, 1 if the file cannot be written."""
    match arguments:
        case [name]:
            path = Path(name)
        case _:
            return _fail(78, f"expected one argument, the file to write; got {len(arguments)}")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                write_health(path)
            except OSError as error:
                return _fail(1, f"{path}: {error}")
            select.select([], [], [], _PERIOD_S)
    return 0


def _fail(code: int, line: str) -> int:
    sys.stderr.write(f"edge.clock_health: {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
