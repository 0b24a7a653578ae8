"""Where the threads of processes spend their time: computing, waiting for a processor, waiting."""

import contextlib
import time
from pathlib import Path


class ThreadTimes:
    """Sums the times of each thread from its first sample to its last one.

    Args:
        processes: name -> process id.
    """

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = processes
        # thread -> wall, computing and queueing time at the first and the last sample, ns
        self._times: dict[tuple[str, str, str], list[tuple[int, int, int]]] = {}
        self.sample()

    def sample(self) -> None:
        """Read the times; call it often enough to see every thread."""
        for name, pid in self._processes.items():
            for task in Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):  # the thread has ended
                    ran_ns, queued_ns, _ = map(int, (task / "schedstat").read_text().split())
                    thread = (name, task.name, (task / "comm").read_text().strip())
                    now = (time.monotonic_ns(), ran_ns, queued_ns)
                    self._times[thread] = [self._times.get(thread, [now])[0], now]

    def table(self) -> list[str]:
        """Return a line for each thread that has computed for 1 % of the time or more."""
        lines = []
        for (name, thread, comm), (first, last) in self._times.items():
            wall_s, ran_s, queued_s = (
                (after - before) / 1e9 for before, after in zip(first, last, strict=True)
            )
            if ran_s > 0.01 * wall_s:
                waited_s = wall_s - ran_s - queued_s
                lines.append(
                    f"{name} {comm} {thread}: computed {ran_s:.1f}, waited for a processor"
                    f" {queued_s:.1f}, for anything else {waited_s:.1f}"
                )
        return lines
