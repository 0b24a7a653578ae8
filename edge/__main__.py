"""The entry point: ``affect-edge`` and ``python -m edge``."""

import sys
from types import FrameType

from edge.descriptors import open_standard_streams
from edge.stop_signals import on_stop_signals

_UNTIL_STOPPED = ("run", "tail", "log", "forward")
"""Commands that run until a signal stops them: they exit with 0, all others with 128 + signal."""


def main() -> None:
    """Run the command line and exit with its code."""
    # A signal during the imports: nothing has started yet, so there is nothing to clean up.
    # Commands that run until they are stopped replace these handlers later.
    open_standard_streams()
    on_stop_signals(_exit_on_signal)
    from edge.cli import run_command_line  # noqa: PLC0415 (after the handlers)

    sys.exit(run_command_line(sys.argv[1:]))


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    sys.exit(0 if command in _UNTIL_STOPPED else 128 + number)


if __name__ == "__main__":
    main()
