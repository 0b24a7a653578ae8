"""One line when a command for recordings is interrupted by a signal (Ctrl-C)."""

from collections.abc import Iterator
from contextlib import contextmanager

from edge.descriptors import report_line


class Interrupted(SystemExit):
    """The end by a signal, with what is done so far.

    Args:
        end: as the handler of the signal raised it.
        words: what is done, and how to go on.
    """

    def __init__(self, end: SystemExit, words: str) -> None:
        super().__init__(end.code)
        self.words = words


@contextmanager
def report_interruption(words: str) -> Iterator[None]:
    """Write one line if a signal ends the ``with`` block.

    Args:
        words: of an interruption that has none, as before anything is done.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        done = end.words if isinstance(end, Interrupted) else words
        report_line(f"interrupted: {done}")
        raise
