"""The entry point: ``affect-edge`` and ``python -m edge``."""

import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and exit with its code."""
    # Asked to stop while still importing: nothing has begun, so nothing is left to end. Commands
    # that run for long install their own handlers.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    from edge.cli import run_command_line  # noqa: PLC0415 (after the handlers)

    sys.exit(run_command_line(sys.argv[1:]))


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
