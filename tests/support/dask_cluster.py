"""A real Dask scheduler and real workers, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.daemons import ROOT
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@contextmanager
def dask(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``dask ARGUMENTS`` in a process; its output goes into a file of ``folder``."""
    with (folder / f"{arguments[0]}-{len(list(folder.iterdir()))}.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dask", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Run a scheduler and workers of one thread each; yield its address, and them."""
    folder.mkdir()
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            dask(folder, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        )
        started = [
            stack.enter_context(
                dask(
                    folder, "worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard",
                    "--host", "127.0.0.1", "--local-directory", str(folder),
                )
            )
            for _ in range(workers)
        ]  # fmt: skip
        logs = [folder / f"worker-{number + 1}.log" for number in range(workers)]
        wait_until(lambda: all("Registered to" in log.read_text() for log in logs), 90)
        yield address, started
