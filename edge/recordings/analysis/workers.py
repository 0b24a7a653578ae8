"""Processes that analyse recordings on this machine, one recording at a time each."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from edge.child import child_environment
from edge.clock import elapsed_ms, monotonic_ns
from edge.config import Config
from edge.errors import AffectEdgeError, ModelError
from edge.protocol.events import ModelReference
from edge.recordings.analysis.job import Job, Progress

_POLL_S: Final = 0.5
_SILENT_MS: Final = 600_000.0
"""A process that reports no progress for so long hangs, in a decoder or at a disk."""

FailureKind = Literal["input", "recording", "results", "config"]
"""What failed: a recording or an argument that does not fit it is wrong (input); its analysis
failed; the disk takes no results; or something that all recordings have in common is wrong."""


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a job: its ``session.json``, or why it failed."""

    job: Job
    session: Mapping[str, Any] | None = None
    failure: str = ""
    kind: FailureKind = "recording"


@dataclass(slots=True, eq=False)
class Process:
    """One process of ``edge.recordings.analysis.child``. Not thread-safe."""

    job: Job | None = None
    reported_ns: int = field(default_factory=monotonic_ns)
    _buffer: bytes = b""
    _child: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edge.recordings.analysis.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor of its answers."""
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def send(self, **request: str) -> None:
        """Send a request; one that has died is noticed by ``answers``."""
        assert self._child.stdin is not None
        self.reported_ns = monotonic_ns()
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()

    def answers(self) -> list[dict[str, Any]] | None:
        """Return the answers that are there, after waiting for some; None: it has died."""
        content = os.read(self.fileno(), 1 << 20)
        if not content:
            return None
        self.reported_ns = monotonic_ns()
        *lines, self._buffer = (self._buffer + content).split(b"\n")
        return [json.loads(line) for line in lines]

    def cause_of_death(self) -> str:
        """Return how it ended, in words."""
        code = self._child.wait()
        if code == -9:
            return "its process was killed (SIGKILL): is there enough memory? Try fewer --jobs"
        if code < 0:
            return f"its process was ended by signal {-code}: the recording may be damaged"
        return f"its process ended with exit code {code}"

    def close(self) -> None:
        """End it at once: what is not complete disappears with it."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def open_models(process: Process, config: Config) -> dict[str, ModelReference]:
    """Let a process load and verify the networks; return them by role.

    Raises:
        ModelError: a network fails verification.
    """
    process.send(open=config.model_dump_json())
    while (answers := process.answers()) is not None:
        for answer in answers:
            if "failed" in answer:
                raise ModelError(answer["failed"])
            return {
                role: ModelReference.model_validate(model)
                for role, model in answer["opened"].items()
            }
    raise AffectEdgeError(f"loading the networks: {process.cause_of_death()}")


class Workers:
    """Runs jobs in processes of their own. A context manager; not thread-safe.

    Args:
        processes: how many at most.
        first: one that is started already.
    """

    def __init__(self, processes: int, first: Process | None = None) -> None:
        self._processes = [] if first is None else [first]
        self._count = processes
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.close()
        self._selector.close()

    def run(
        self, jobs: Sequence[Job], on_progress: Callable[[Job, Progress], None]
    ) -> Iterator[Done]:
        """Yield the end of each job as it comes; failures of one do not stop the others.

        Args:
            jobs: in the order in which they are started.
            on_progress: takes the progress of a job.
        """
        waiting = list(reversed(jobs))
        for process in self._processes:
            self._selector.register(process, selectors.EVENT_READ, process)
        self._start_idle(waiting)
        while any(process.job for process in self._processes):
            for key, _ in self._selector.select(_POLL_S):
                yield from self._take_answers(key.data, on_progress)
            yield from self._end_silent()
            self._start_idle(waiting)

    def _start_idle(self, waiting: list[Job]) -> None:
        while waiting:
            idle = next((each for each in self._processes if each.job is None), None)
            if idle is None and len(self._processes) >= self._count:
                return
            if idle is None:
                idle = Process()
                self._processes.append(idle)
                self._selector.register(idle, selectors.EVENT_READ, idle)
            idle.job = waiting.pop()
            idle.send(job=idle.job.encode())

    def _take_answers(
        self, process: Process, on_progress: Callable[[Job, Progress], None]
    ) -> Iterator[Done]:
        answers, job = process.answers(), process.job
        if answers is None:
            self._remove(process)
            if job is not None:
                yield Done(job, failure=f"{job.path}: {process.cause_of_death()}")
            return
        for answer in answers:
            assert job is not None
            if "doing" in answer:
                on_progress(job, Progress(**answer))
                continue
            process.job = None
            if "done" in answer:
                yield Done(job, answer["done"])
            else:
                yield Done(job, failure=answer["failed"], kind=answer["kind"])

    def _end_silent(self) -> Iterator[Done]:
        for process in tuple(self._processes):
            if process.job is not None and elapsed_ms(process.reported_ns) > _SILENT_MS:
                self._remove(process)
                process.close()
                yield Done(
                    process.job,
                    failure=f"{process.job.path}: no progress for {_SILENT_MS / 1e3:.0f} s",
                )

    def _remove(self, process: Process) -> None:
        self._selector.unregister(process)
        self._processes.remove(process)
