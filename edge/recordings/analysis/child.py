"""A process that analyses recordings: ``python -m edge.recordings.analysis.child``.

It reads requests from standard input and answers on standard output, one JSON object a line. All
native code runs here: a recording that crashes a decoder ends this process and no other.

=============================  ==================================================================
request                        answers
=============================  ==================================================================
``{"open": CONFIG}``           ``{"opened": MODELS}``: the networks are loaded and verified
``{"job": JOB}``               ``{"doing": TEXT, "share": 0..1}`` now and then, and then
                               ``{"done": SESSION}``
either                         ``{"failed": TEXT, "kind": KIND}`` (``workers.FailureKind``)
=============================  ==================================================================

An unexpected exception in a job is an answer, too, with its type: a failure of that recording.
The process ends at the end of its input, and with its parent.
"""

import faulthandler
import json
import os
import select
import signal
import sys
from typing import Any, Final

import cv2

from edge.child import end_with_parent, forbid_dumps
from edge.config import Config, redact
from edge.errors import AffectEdgeError, ConfigError, LogFileError, ModelError
from edge.recordings.analysis.job import Job, Progress, run_job
from edge.recordings.analysis.workers import FailureKind
from edge.vision.golden import open_verified
from edge.vision.pipeline import Pipeline
from edge.vision.record import model_references

_NETWORKS: Final = ("detector", "translator", "expression", "mesh")


def main() -> int:
    """Serve requests until the end of the input; return the exit code."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    _harden()
    networks = _Networks()

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    def report(progress: Progress) -> None:
        _end_with_parent()
        answer(doing=progress.doing, share=progress.share)

    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "open" in request:
                config = Config.model_validate_json(request["open"])
                answer(opened=model_references(config, networks.of(config)))
            else:
                job = Job.decode(request["job"])
                pipeline = networks.of(Config.model_validate_json(job.config))
                answer(done=run_job(job, pipeline, report))
        except BrokenPipeError:
            return 1
        except AffectEdgeError as error:
            kind = _kind(error) if "job" in request else "config"
            answer(failed=redact(" ".join(str(error).split())), kind=kind)
        except Exception as error:  # the other recordings go on
            if "job" not in request:
                raise
            path = json.loads(request["job"])["path"]
            text = " ".join(f"{path}: {type(error).__name__}: {error}".split())
            answer(failed=redact(text), kind="recording")
    return 0


def _kind(error: AffectEdgeError) -> FailureKind:
    """Return whose fault the error of a job is."""
    match error:
        case ModelError():
            return "config"
        case LogFileError():
            return "results"
        case ConfigError():
            return "input"
        case _:
            return "recording"


class _Networks:
    """The networks of the newest configuration; recordings of one analysis share them."""

    def __init__(self) -> None:
        self._key = ""
        self._pipeline: Pipeline | None = None

    def of(self, config: Config) -> Pipeline:
        key = config.model_dump_json(include=set(_NETWORKS))
        if self._pipeline is None or key != self._key:
            self._key, self._pipeline = key, open_verified(config)
        return self._pipeline


def _harden() -> None:
    """End with the parent; keep pictures out of core dumps and debuggers; leave Ctrl-C to it."""
    end_with_parent(signal.SIGKILL)
    forbid_dumps()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    cv2.setNumThreads(1)  # there is a process for each core


def _end_with_parent() -> None:
    """End if the parent has closed the other end: the signal at its death may have been missed."""
    poll = select.poll()
    poll.register(0, 0)
    if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
        os._exit(1)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a library's thread must not keep the process alive
