"""The worker process; the hub starts it as ``python -m edge.worker FD``.

All native code runs here: camera, decoders and networks. The process ends when the hub ends.
"""

import faulthandler
import os
import signal
import sys
from types import FrameType

import cv2

from edge.child import end_with_parent, forbid_dumps
from edge.config import Config
from edge.errors import EXIT_FAILURE, AffectEdgeError
from edge.link import Ended, Failed, Go, Link, LinkClosed, Loading, Ready, Start
from edge.vision.golden import open_verified
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.record import model_references
from edge.vision.sources import load_modules
from edge.worker.memlock import lock_memory, return_free_memory
from edge.worker.threads import HEARTBEAT_S, Worker


def _harden() -> None:
    """End with the hub; keep frames out of core dumps and debuggers."""
    end_with_parent(signal.SIGKILL)
    forbid_dumps()


def main(fd: int) -> int:
    """Serve the hub on the inherited descriptor ``fd``; return the exit code."""
    _harden()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the hub stops this process
    cv2.setNumThreads(1)  # the three stages already share the cores
    link = Link.inherited(fd)
    try:
        start = link.receive()
        if not isinstance(start, Start):
            raise TypeError(f"expected the start report, received {start!r}")
        config = Config.model_validate_json(start.config)

        def on_step() -> None:
            link.send(Loading())

        on_step()  # everything above is imported
        try:
            # a file that is read without loss gives the same messages on any number of cores
            most_threads = ONE_THREAD if start.lossless else MostThreads.here()
            pipeline = open_verified(
                config,
                first_track=start.first_track,
                most_threads=most_threads,
                on_loaded=on_step,
            )
            on_step()
            models = model_references(config, pipeline)
            load_modules(config.source)  # before Ready, so that limits.start_s covers it
            on_step()
            # at a first start networks are loaded that are measured and not chosen
            return_free_memory()
            lock_error = lock_memory()  # no picture of the source comes before
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
            picture_state=start.picture_state,
        )

        def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
            worker.stop.set()

        signal.signal(signal.SIGTERM, on_sigterm)
        link.send(Ready(models=models, lock_error=lock_error))
        while not worker.stop.is_set():
            report = link.receive(HEARTBEAT_S)
            if isinstance(report, Go):
                return worker.run(report)
            link.send(worker.heartbeat())
        link.send(Ended())
        return 0
    except LinkClosed:
        return EXIT_FAILURE


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that hangs in a driver must not keep the process alive
