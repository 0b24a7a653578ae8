"""The entry point: ``affect-edge`` and ``python -m edge``."""

import signal
import sys
from types import FrameType

_UNTIL_STOPPED = ("run", "tail", "log")
"""Commands for which being asked to stop is a good end; any other one was cut off by it."""


def main() -> None:
    """Run the command line and exit with its code."""
    # Asked to stop while still importing: nothing has begun, so nothing is left to end. Commands
    # that run until they are stopped install their own handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from edge.cli import run_command_line  # noqa: PLC0415 (after the handlers)

    sys.exit(run_command_line(sys.argv[1:]))


def _leave(number: int, _frame: FrameType | None) -> None:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    sys.exit(0 if command in _UNTIL_STOPPED else 128 + number)


if __name__ == "__main__":
    main()
