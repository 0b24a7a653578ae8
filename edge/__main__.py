"""The entry point: ``affect-edge`` and ``python -m edge``."""

import os
import sys
from types import FrameType

from edge.descriptors import open_standard_streams
from edge.stop_signals import end_at_once, exit_on_signal, on_stop_signals

_UNTIL_STOPPED = ("run", "tail", "log", "forward", "lsl", "aim", "dashboard")
"""Commands that run until a signal stops them: they exit with 0, all others with 128 + signal."""

_SAYS_INTERRUPTED = ("analyse", "annotate")
"""Commands that say in one line that a signal ended them."""


def main() -> None:
    """Run the command line and exit with its code."""
    open_standard_streams()
    on_stop_signals(_end_on_signal)
    from edge.cli import run_command_line  # noqa: PLC0415 (after the handlers)

    if _command() not in _UNTIL_STOPPED:  # these replace the handlers themselves
        on_stop_signals(exit_on_signal)
    sys.exit(run_command_line(sys.argv[1:]))


def _end_on_signal(number: int, frame: FrameType | None) -> None:
    if _command() in _SAYS_INTERRUPTED:
        os.write(2, b"affect-edge: interrupted: nothing was started\n")
    if _command() in _UNTIL_STOPPED:
        os._exit(0)
    end_at_once(number, frame)


def _command() -> str:
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


if __name__ == "__main__":
    main()
