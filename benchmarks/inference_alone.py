"""The networks alone, on prepared tensors: the time that other code cannot reduce."""

import numpy as np

from benchmarks.figures import Spent, Timer
from edge import clock
from edge.config import Config
from edge.vision.expression.crop import square_crop
from edge.vision.inference import Network, open_network
from edge.vision.inference.runtimes import Tensor
from edge.vision.regions import region_detector
from edge.vision.resize import resize_linear
from edge.vision.values import FrameState

IDLE_WINDOW_MS = 20.0
IDLE_WAIT_MAX_MS = 1000.0


class InferenceAlone:
    """Runs the networks on tensors that were prepared before the clock starts."""

    def __init__(self, config: Config) -> None:
        self._detector = open_network(
            config.detector.model, task="face-detection",
            artifact=config.detector.artifact, threads=config.detector.threads,
        )  # fmt: skip
        self._region: Network | None = None
        if (region := region_detector(config.detector)).model:
            self._region = open_network(
                region.model, task="face-detection",
                artifact=region.artifact, threads=region.threads,
            )  # fmt: skip
        self._translator: Network | None = None
        if config.translator.model:
            self._translator = open_network(
                config.translator.model, task="spectrum-translation",
                artifact=config.translator.artifact, threads=config.translator.threads,
            )  # fmt: skip
        self._expression = open_network(
            config.expression.model, task="facial-expression",
            artifact=config.expression.artifact, threads=config.expression.threads,
        )  # fmt: skip

    def wait_until_idle(self) -> None:
        """Run without counting until no other session's thread pool spins any more.

        Default thread pools of onnxruntime spin after a call (75 ms measured) and would take a core
        from the next measurement.
        """
        detector, expression = self._detector.info, self._expression.info
        picture = self._detector.tensor(np.zeros((detector.height, detector.width), np.uint8))
        face = self._expression.tensor(np.zeros((expression.height, expression.width), np.uint8))
        start_ns = clock.monotonic_ns()
        quiet = 1.1 * max(detector.threads, expression.threads)
        busy = quiet + 1
        while busy > quiet and clock.elapsed_ms(start_ns) < IDLE_WAIT_MAX_MS:
            window_ns, before_ns = clock.monotonic_ns(), clock.processor_ns()
            while clock.elapsed_ms(window_ns) < IDLE_WINDOW_MS:
                self._detector.session.run(picture)
                self._expression.session.run(face)
            busy = (clock.processor_ns() - before_ns) / 1e6 / clock.elapsed_ms(window_ns)

    def measure(self, state: FrameState) -> Spent:
        """Return the time that the runtime takes for the inputs of ``state``.

        With detection by regions: one run for each region. A full look is counted where it gave a
        box or no face is known, not where it only confirmed the known faces: the median of many
        frames is that of a frame without a full look.
        """
        found = [face.track.detection.found for face in state.faces]
        detectors = [] if "region" in found else [self._detector]
        if self._region is not None:
            detectors += [self._region] * found.count("region")
        spent = []
        for detector in detectors:
            size = (detector.info.width, detector.info.height)
            spent.append(_run(detector, detector.tensor(resize_linear(state.frame.luma, size))))
        networks = (
            [self._expression] if not self._translator else [self._translator, self._expression]
        )
        for face in state.faces:
            if face.prediction is None or face.reading_age_ns:
                continue  # no network ran for it
            for network in networks:
                side = (network.info.width, network.info.height)
                crop = square_crop(state.frame.luma, face.track.detection.box, side, 0.0)
                spent.append(_run(network, network.tensor(crop)))
        return Spent(sum(each.wall_ms for each in spent), sum(each.cpu_ms for each in spent))


def _run(network: Network, tensor: Tensor) -> Spent:
    timer = Timer()
    network.session.run(tensor)
    return timer.spent()
