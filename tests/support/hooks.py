"""Code that runs at the start of the daemon's processes, for faults that a test brings about."""

import os
from pathlib import Path

from tests.support.daemons import ROOT

_CLOCK = """
import sys, time
if "edge" in sys.orig_argv:
    real = time.time_ns
    def shifted():
        try:
            with open({path!r}) as file:
                return real() + int(file.read() or 0)
        except (OSError, ValueError):
            return real()
    time.time_ns = shifted
"""

_BLOCK = """
import os, sys, time
if "edge.worker" in sys.orig_argv:
    import edge.worker.threads
    import edge.worker.capture
    from edge.vision.pipeline import Pipeline
    from edge.worker.capture import Capture
    def blocks(function):
        def blocking(*arguments):
            while os.path.exists({path!r}):
                time.sleep(0.02)
            return function(*arguments)
        return blocking
    if {stage!r} == "capture":
        from edge.vision.sources.video import Video
        Video.read = blocks(Video.read)
    else:
        setattr(Pipeline, {stage!r}, blocks(getattr(Pipeline, {stage!r})))
"""


def _environment(folder: Path, code: str) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def shifted_wall_clock(folder: Path, offset: Path) -> dict[str, str]:
    """Return the environment of a daemon whose wall clock is off by the nanoseconds in a file."""
    return _environment(folder, _CLOCK.format(path=str(offset)))


def blocked_stage(folder: Path, stage: str, while_exists: Path) -> dict[str, str]:
    """Return the environment of a daemon whose workers block in a stage while a file exists.

    ``stage``: capture, detect or classify.
    """
    return _environment(folder, _BLOCK.format(stage=stage, path=str(while_exists)))


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that no reader sees half of it."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


_SLOW_COMMIT = """
import sys, time
if {module!r} in sys.orig_argv:
    from edge.hub.journal.store import Store
    commit = Store.commit
    def slow_commit(*arguments, **options):
        open({path!r}, "w").close()
        time.sleep({seconds!r})
        commit(*arguments, **options)
    Store.commit = slow_commit
"""


def slow_commits(folder: Path, module: str, seconds: float, marker: Path) -> dict[str, str]:
    """Return the environment of a daemon each of whose commits takes so long.

    Each creates the file ``marker`` when it begins. ``module``: with which the daemon is started.
    """
    code = _SLOW_COMMIT.format(module=module, path=str(marker), seconds=seconds)
    return _environment(folder, code)


_HELD = """
import os, sys, time
while {module!r} in sys.orig_argv and os.path.exists({path!r}):
    time.sleep(0.02)
"""


def held_at_start(folder: Path, module: str, while_exists: Path) -> dict[str, str]:
    """Return the environment of a daemon whose ``python -m module`` begins when a file is gone."""
    return _environment(folder, _HELD.format(module=module, path=str(while_exists)))


_PATIENT = """
import sys
if "run" in sys.orig_argv:
    import edge.hub.daemon
    edge.hub.daemon.STOP_S = 60.0
"""


def patient_hub(folder: Path) -> dict[str, str]:
    """Return the environment of a daemon that waits a minute for a worker that does not end."""
    return _environment(folder, _PATIENT)


_SIGNAL = """
import os, signal, sys, weakref
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            def callback(_):
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(3):  # the handler runs here
                    pass
            thing = Finder()
            reference = weakref.ref(thing, callback)
            del thing
if "edge" in sys.orig_argv:
    sys.meta_path.insert(0, Finder)
"""


def signal_at_import(folder: Path, module: str) -> dict[str, str]:
    """Return the environment of a command that gets SIGTERM when it imports a module.

    It comes within a callback, out of which Python lets no exception, as imports have them.
    """
    return _environment(folder, _SIGNAL.format(module=module))
