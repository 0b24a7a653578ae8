"""Says on standard error how far a benchmark is: standard output is for its result."""

from typing import Final

from edge.clock import elapsed_ms, monotonic_ns
from edge.descriptors import write_error_line

_LINE_MS: Final = 10_000.0


class ProgressLines:
    """Writes a line now and then; a bar, which a thread redraws, would disturb a measurement.

    Not thread-safe.

    Args:
        command: that runs, such as ``fps``.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._shown_ns: int | None = None

    def show(self, step: str) -> None:
        """Write the step, unless the last one was written less than ten seconds ago."""
        if self._shown_ns is None or elapsed_ms(self._shown_ns) >= _LINE_MS:
            self._shown_ns = monotonic_ns()
            write_error_line(f"benchmarks: {self._command}: {step}")
