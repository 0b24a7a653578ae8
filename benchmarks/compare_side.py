"""One side of ``benchmarks fps --compare``: runs the pipeline of one checkout on request.

It is run as a file, ``python -P compare_side.py``, with the checkout first on the module search
path, and imports only that checkout's modules. Requests and answers are lines of JSON. It works
with every revision that has ``benchmarks/fps.py``: the names that moved since are looked up in both
places, and stages are measured in processor time in older revisions, too.

Requests: ``{"open": {...}}`` once, then ``{"run": COUNT}`` for the next frames; the end of the
input ends the process.
"""

import contextlib
import json
import os
import sys
import time  # noqa: TID251  (older revisions have no processor time in edge.clock)
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

_CUT_NS = 40_000_000  # between the last frame and the first of the next repetition


def _imported(name: str, *modules: str) -> Any:
    """Return ``name`` from the first of ``modules`` that exists."""
    for module in modules[:-1]:
        with contextlib.suppress(ImportError):
            return getattr(import_module(module), name)
    return getattr(import_module(modules[-1]), name)


@contextlib.contextmanager
def _stages_in_processor_time() -> Iterator[None]:
    """Let the stopwatches of the pipeline measure processor time, in any revision."""
    clock: Any = import_module("edge.clock")
    if hasattr(clock, "stages_in_processor_time"):
        with clock.stages_in_processor_time():
            yield
        return
    genuine = clock.time
    clock.time = SimpleNamespace(**{**vars(time), "monotonic_ns": time.process_time_ns})
    try:
        yield
    finally:
        clock.time = genuine


class Side:
    """The pipeline of this checkout, and the frames that it gets in order."""

    def __init__(self, request: dict[str, Any]) -> None:
        """Open the pipeline.

        ``request`` has ``settings`` (of the command line), ``artifacts`` (further settings, left
        out where this revision does not have these artifacts), ``config`` (a file, or null),
        ``frames`` (the path of a NumPy array, uint8 (count, height, width)) and ``rate_hz``.
        """
        import_module("cv2").setNumThreads(1)
        load_config = _imported("load_config", "edge.config")
        pipeline = _imported("Pipeline", "edge.vision.pipeline", "edge.pipeline")
        self._frame = _imported("Frame", "edge.vision.values", "edge.values")
        self._message: Callable[[Any], bytes] = _imported(
            "message_bytes", "benchmarks.message", "benchmarks.fps"
        )
        failure = import_module("edge.errors").AffectEdgeError
        self.chose_artifacts = False
        try:
            settings = [*request["settings"], *request["artifacts"]]
            config = load_config(request["config"], settings=settings, overrides={})
            self._pipeline = pipeline.open(config)
        except failure:
            if not request["artifacts"]:
                raise
            config = load_config(request["config"], settings=request["settings"], overrides={})
            self._pipeline = pipeline.open(config)
            self.chose_artifacts = True
        self._full_looks = 0
        self._count_full_looks(self._pipeline.detector)
        # as a plain array: a slice of a memmap runs code in Python, which no source's frame does
        self._pixels = np.asarray(np.load(request["frames"], mmap_mode="r"))
        for picture in self._pixels:
            picture.sum()  # reading it here keeps the page faults out of the measurement
        self._step_ns = round(1e9 / request["rate_hz"])
        self._index = 0

    def _count_full_looks(self, detector: Any) -> None:
        """Count the calls of the detector of full frames; see ``benchmarks.pipeline.FullLooks``."""
        genuine = detector.detect

        def counted(*arguments: Any) -> Any:
            self._full_looks += 1
            return genuine(*arguments)

        detector.detect = counted

    def models(self) -> dict[str, str]:
        """Return the artifact of each network of the pipeline."""
        parts = (getattr(self._pipeline, name, None) for name in _NETWORKS)
        infos = [part.info for part in parts if part is not None]
        return {info.name: info.artifact for info in infos}

    def run(self, count: int) -> dict[str, Any]:
        """Process the next ``count`` frames; return the times of each, and what was found."""
        rows: dict[str, Any] = {"wall_ms": [], "cpu_ms": [], "stage_cpu_ms": []}
        faces = predicted = full_looks = 0
        with _stages_in_processor_time():
            for _ in range(count):
                frame, looks = self._next(), self._full_looks
                cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
                state = self._pipeline.step(frame)
                message = self._message(state)
                rows["wall_ms"].append((time.monotonic_ns() - wall_ns) / 1e6)
                rows["cpu_ms"].append((time.process_time_ns() - cpu_ns) / 1e6)
                rows["stage_cpu_ms"].append(state.stage_ms)
                found = json.loads(message.partition(b" ")[2])["faces"]
                faces += len(found)
                # its name was "reading" in revisions before the expression had this one
                predicted += sum(each.get("expression", each.get("reading")) is not None
                                 for each in found)  # fmt: skip
                full_looks += self._full_looks > looks
        return {**rows, "faces": faces, "predicted": predicted, "full_looks": full_looks}

    def _next(self) -> Any:
        lap, place = divmod(self._index, len(self._pixels))
        laps_ns = lap * ((len(self._pixels) - 1) * self._step_ns + _CUT_NS)
        sensor_ns = laps_ns + place * self._step_ns
        frame = self._frame(self._pixels[place], self._index, sensor_ns, "media", 0)
        self._index += 1
        return frame


_NETWORKS = ("detector", "region_detector", "translator", "expression")


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer the requests until there are no more."""
    side: Side | None = None
    for line in requests:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if side is None:
                side = Side(request["open"])
                answer = {"models": side.models(), "chose_artifacts": side.chose_artifacts}
            else:
                answer = side.run(request["run"])
        except Exception as error:  # noqa: BLE001  (of another revision: any; the parent reports it)
            known = type(error).__module__ == "edge.errors"
            text = str(error) if known else f"{type(error).__name__}: {error}"
            answer = {"error": " ".join(text.split())}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as own:
        os.dup2(2, 1)  # what a library prints must not become an answer
        serve(sys.stdin, own)
