"""Shows how far several recordings are: bars on a terminal, else a line now and then."""

import sys
from typing import Any, Final, Self

from edge.clock import elapsed_ms, monotonic_ns
from edge.descriptors import printable, report_line
from edge.recordings.analysis.job import Job, Progress

_LINE_MS: Final = 10_000.0


class Display:
    """Shows progress on standard error. A context manager; not thread-safe.

    Args:
        weights: by name of each recording, its share of the work, such as its bytes.
    """

    def __init__(self, weights: dict[str, int]) -> None:
        self._weights = {name: max(1, weight) for name, weight in weights.items()}
        self._shares = dict.fromkeys(weights, 0.0)
        self._bars: Any = None
        self._total: Any = None
        self._tasks: dict[str, Any] = {}
        self._began_ns = self._reported_ns = monotonic_ns()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            self._bars = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[doing]}", markup=False),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
            total = sum(self._weights.values())
            count = len(self._weights)
            name = f"{count} recordings" if count > 1 else "total"
            self._total = self._bars.add_task(name, total=total, doing="left")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def progress(self, job: Job, progress: Progress) -> None:
        """Show how far a recording is."""
        if progress.doing == "analyse":
            self._shares[job.name] = progress.share
        if self._bars is not None:
            task = self._tasks.get(job.name)
            if task is None:
                task = self._tasks[job.name] = self._bars.add_task(
                    printable(job.name), total=1.0, doing=""
                )
            self._bars.update(task, completed=progress.share, doing=progress.doing)
            self._bars.update(self._total, completed=self._done)
        elif elapsed_ms(self._reported_ns) >= _LINE_MS:
            self._reported_ns = monotonic_ns()
            if progress.doing == "compare":
                self.line(f"{job.name}: compared with its earlier results: {progress.share:.0%}")
            else:
                self.line(f"{self._share:.0%} done{self._left()}")

    def done(self, job: Job) -> None:
        """Show that a recording has ended."""
        self._shares[job.name] = 1.0
        if self._bars is not None:
            if (task := self._tasks.pop(job.name, None)) is not None:
                self._bars.remove_task(task)
            self._bars.update(self._total, completed=self._done)

    def line(self, text: str) -> None:
        """Write a line; above the bars, if there are any."""
        if self._bars is not None:
            line = printable(f"affect-edge: {text}")
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            report_line(text)

    @property
    def _done(self) -> float:
        return sum(self._weights[name] * share for name, share in self._shares.items())

    @property
    def _share(self) -> float:
        return self._done / sum(self._weights.values())

    def _left(self) -> str:
        took_s, share = elapsed_ms(self._began_ns) / 1e3, self._share
        if share <= 0:
            return ""
        left_s = took_s * (1 - share) / share
        return f", about {left_s / 60:.0f} min left" if left_s >= 90 else f", {left_s:.0f} s left"
