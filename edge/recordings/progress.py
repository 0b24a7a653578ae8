"""Progress of long work: a bar with the remaining time on a terminal, else a line now and then."""

import sys
from typing import Any, Final, Self

from edge.clock import elapsed_ms, monotonic_ns
from edge.descriptors import printable, report_line

_LINE_MS: Final = 10_000.0


class ProgressBar:
    """Shows how far something is, on standard error. A context manager; not thread-safe.

    Args:
        what: is done, such as the name of the file.
        total: amount of all the work, such as seconds of a recording; None if it is not known.
    """

    def __init__(self, what: str, total: float | None) -> None:
        self._what = what
        self._total = total if total and total > 0 else None
        self._bar: Any = None
        self._task: Any = None
        self._began_ns = self._reported_ns = monotonic_ns()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich import progress as rich_progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}", markup=False),
                rich_progress.BarColumn(),
                rich_progress.TaskProgressColumn(),
                rich_progress.TimeRemainingColumn(),
                rich_progress.TextColumn("left"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(printable(self._what), total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: float) -> None:
        """Show that ``done`` of ``total`` is done; less than 0 is what has to be done first."""
        done = max(0.0, done)
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
            return
        if elapsed_ms(self._reported_ns) < _LINE_MS:
            return
        self._reported_ns = monotonic_ns()
        took_s = elapsed_ms(self._began_ns) / 1e3
        if self._total is None or done == 0:
            report_line(f"{self._what}: {took_s:.0f} s so far")
            return
        left_s = max(0.0, self._total - done) * took_s / done
        share = min(1.0, done / self._total)
        report_line(f"{self._what}: {share:.0%}, {left_s:.0f} s left")
