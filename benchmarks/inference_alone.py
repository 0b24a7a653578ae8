"""The networks alone: the time of a frame that other code cannot reduce."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.figures import Spent, Timer
from edge import clock
from edge.vision.inference import Network
from edge.vision.inference.runtimes import Tensor
from edge.vision.values import Floats

IDLE_WINDOW_MS: Final = 20.0
IDLE_WAIT_MAX_MS: Final = 1000.0


class InferenceAlone:
    """What the networks got in a frame, to run the same again, alone. For one thread.

    So a frame is compared with its own inference: its full look, its regions (those that were tried
    again, too), and each face that was read.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Network, Tensor]] = []
        self._latest: list[tuple[Network, Tensor]] = []

    def note(self, network: Network, tensors: Sequence[Tensor]) -> None:
        """Note that ``network`` runs on ``tensors``."""
        self._runs += [(network, tensor) for tensor in tensors]

    def measure(self) -> Spent:
        """Return the time that the runtimes take for what was noted since the last call.

        Zero where no network ran: nobody is known, and nothing moved.
        """
        runs, self._runs = self._runs, []
        self._latest = runs or self._latest
        timer = Timer()
        for network, tensor in runs:
            network.session.run(tensor)
        return timer.spent()

    def wait_until_idle(self) -> None:
        """Run the latest frame's networks, uncounted, until no other thread pool spins any more.

        Default thread pools of onnxruntime spin after a call (75 ms measured) and would take a core
        from the next measurement.
        """
        start_ns = clock.monotonic_ns()
        quiet = 1.1 * max((network.info.threads for network, _ in self._latest), default=1)
        busy = quiet + 1
        while self._latest and busy > quiet and clock.elapsed_ms(start_ns) < IDLE_WAIT_MAX_MS:
            window_ns, before_ns = clock.monotonic_ns(), clock.processor_ns()
            while clock.elapsed_ms(window_ns) < IDLE_WINDOW_MS:
                for network, tensor in self._latest:
                    network.session.run(tensor)
            busy = (clock.processor_ns() - before_ns) / 1e6 / clock.elapsed_ms(window_ns)


@contextmanager
def noted_inference() -> Iterator[InferenceAlone]:
    """Note every run of a network of this process inside, in whatever decoder or stage."""
    noted, genuine = InferenceAlone(), Network.run_tensors

    def run_tensors(network: Network, tensors: Sequence[Tensor]) -> dict[str, Floats]:
        noted.note(network, tensors)
        return genuine(network, tensors)

    # the class, since decoders keep their networks to themselves
    setattr(Network, "run_tensors", run_tensors)  # noqa: B010  (a method, for mypy)
    try:
        yield noted
    finally:
        setattr(Network, "run_tensors", genuine)  # noqa: B010
