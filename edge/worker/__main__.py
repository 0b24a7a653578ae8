"""The worker process, started by the hub as ``python -m edge.worker FD``: it ends with the hub.

Everything native runs here: camera, decoders and networks.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from types import FrameType

import cv2

from edge.config import Config
from edge.errors import EXIT_FAILURE, AffectEdgeError, ModelError
from edge.link import Ended, Failed, Go, Link, LinkClosed, Ready, Start
from edge.vision.golden import golden_findings
from edge.vision.pipeline import Pipeline
from edge.vision.sources import load_modules
from edge.worker.memlock import lock_memory
from edge.worker.threads import HEARTBEAT_S, Worker

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def _harden() -> str:
    """Die with the hub; keep frames out of swap, core dumps and debuggers.

    Returns why memory is not locked against swap; empty when it is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return lock_memory()


def _open_checked(config: Config, first_track: int) -> tuple[Pipeline, dict[str, dict[str, str]]]:
    """Load the networks and prove them on the golden face; this warms them up, too."""
    pipeline = Pipeline.open(config, first_track=first_track)
    for finding in golden_findings(pipeline.detector, pipeline.expression, pipeline.translator):
        raise ModelError(str(finding))
    models = {
        role: {"name": network.info.name, "sha256": network.info.sha256}
        for role, network in (
            ("detector", pipeline.detector),
            ("translator", pipeline.translator),
            ("expression", pipeline.expression),
        )
        if network is not None
    }
    return pipeline, models


def main(fd: int) -> int:
    """Serve the hub on the inherited descriptor ``fd``; return the exit code."""
    lock_refused = _harden()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the hub to order
    cv2.setNumThreads(1)  # three stages share the cores already
    link = Link.inherited(fd)
    try:
        start = link.receive()
        if not isinstance(start, Start):
            raise TypeError(f"expected the start report, received {start!r}")
        config = Config.model_validate_json(start.config)
        try:
            pipeline, models = _open_checked(config, start.first_track)
            load_modules(config.source)  # before Ready: limits.start_s is the time for it
        except AffectEdgeError as error:
            link.send(Failed(exit_code=error.exit_code, text=str(error)))
            return error.exit_code
        worker = Worker(
            link,
            config,
            pipeline,
            lossless=start.lossless,
            first_index=start.first_index,
            source_state=start.source_state,
        )

        def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
            worker.stop.set()

        signal.signal(signal.SIGTERM, on_sigterm)
        link.send(Ready(models=models, lock_refused=lock_refused))
        while not worker.stop.is_set():
            if isinstance(link.receive(HEARTBEAT_S), Go):
                return worker.run()
            link.send(worker.heartbeat())
        link.send(Ended())
        return 0
    except LinkClosed:
        return EXIT_FAILURE


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that a driver holds must not keep the process
