"""Analyses recordings on the machines of a Dask cluster.

Each worker runs a job in a process of its own (``edge.recordings.analysis.child``), as on one
machine. The networks are fixed by the machine that submits: a worker with other bytes refuses. A
worker that dies takes its processes with it, and Dask gives its recordings to others. Recordings
and results are reached by the same path on every machine: a shared folder.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from edge.errors import AffectEdgeError, ConfigError
from edge.recordings.analysis.job import Job, Progress
from edge.recordings.analysis.workers import Done, Workers

_CONNECT_S: Final = 10
_ADDRESS: Final = re.compile(r"(tcp|tls|ucx|ws|wss)://(\[[^\s/\[\]]+\]|[^\s/:\[\]]+):[0-9]{1,5}")


def require_distributed(address: str) -> Any:
    """Return the module ``distributed``.

    Args:
        address: of the scheduler.

    Raises:
        ConfigError: the address has another form, or the module is not installed.
    """
    if not _ADDRESS.fullmatch(address):
        raise ConfigError(
            f"--scheduler {address!r}: expected tcp://HOST:PORT, such as tcp://10.0.0.2:8786"
        )
    try:
        import distributed  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "--scheduler needs the package distributed: pip install 'affect-edge[cluster]', on"
            " every machine"
        ) from error
    return distributed


def run_on_cluster(
    address: str,
    jobs: Sequence[Job],
    on_progress: Callable[[Job, Progress], None],
    report: Callable[[str], None],
) -> Iterator[Done]:
    """Yield the end of each job as it comes.

    Args:
        address: of the scheduler, ``tcp://HOST:8786``.
        jobs: in the order in which they are started.
        on_progress: is told when a recording begins to wait.
        report: takes a line if there is no worker; they are waited for.

    Raises:
        AffectEdgeError: the scheduler does not answer, or is lost.
    """
    distributed = require_distributed(address)
    try:
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise AffectEdgeError(
            f"--scheduler {address}: does not answer ({' '.join(str(error).split())}); start one"
            " with dask scheduler, and dask worker on each machine"
        ) from error
    with client:
        if not client.nthreads():  # by worker; a cluster may start them for what it is given
            report(
                f"--scheduler {address}: has no worker yet; it waits for one: dask worker {address}"
                " on each machine"
            )
        futures = {}
        for job in jobs:
            on_progress(job, Progress("cluster", 0.0))
            # a name of its own: a result of an earlier run is not to be had again
            key = f"{job.name}-{secrets.token_hex(8)}"
            futures[client.submit(run_in_child, job.encode(), key=key, pure=False)] = job
        for future in distributed.as_completed(list(futures), loop=client.loop):
            job = futures[future]
            if future.cancelled():
                raise AffectEdgeError(
                    f"--scheduler {address}: the connection was lost; the same command goes on"
                    " from what is done"
                )
            failure = future.exception()
            if failure is None:
                yield Done(job, **future.result())
            else:
                yield Done(job, failure=f"{job.path}: {_words(failure)}")


def run_in_child(job_text: str) -> dict[str, Any]:
    """Run a job in a process of this machine; return the fields of its ``Done``.

    For Dask's workers.
    """
    job = Job.decode(job_text)
    where = os.uname().nodename
    with Workers(1) as workers:
        (done,) = workers.run([job], lambda _job, _progress: None)
    failure = f"{done.failure} (on {where})" if done.failure else ""
    return {"session": done.session, "failure": failure, "kind": done.kind}


def _words(error: BaseException) -> str:
    name = type(error).__name__
    if name == "KilledWorker":
        return "every worker that analysed it has died: is there enough memory?"
    return f"{name}: {' '.join(str(error).split())}"
