"""``affect-edge``, with the synthetic worker instead of camera and networks.

Start it as ``python -m tests.support.synthetic_daemon run ...``, or as a ``RunningDaemon`` with
``module=SYNTHETIC``. Arguments and configuration are those of the real daemon; the source is never
opened. See ``tests.support.synthetic_worker`` for the rate and the number of faces.
"""

import sys

from edge.hub import supervisor

SYNTHETIC = "tests.support.synthetic_daemon"

if __name__ == "__main__":
    from edge.__main__ import main

    supervisor.WORKER_COMMAND = (sys.executable, "-m", "tests.support.synthetic_worker")
    sys.exit(main())
