"""A detector of one network: the frame at its input size, one run, and its decoder."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Protocol

from edge.clock import Stopwatch
from edge.vision.detect.input_picture import input_picture
from edge.vision.inference import Network
from edge.vision.values import Detection, Floats, Frame


class Decode(Protocol):
    """Finds the faces in the outputs of a network, highest score first.

    ``outputs`` are by role. ``ratio_x`` and ``ratio_y`` are full-frame pixels per pixel of the
    input, across and down.
    """

    def __call__(
        self, outputs: dict[str, Floats], *, ratio_x: float, ratio_y: float
    ) -> tuple[Detection, ...]: ...


class NetworkDetector:
    """A network and its decoder. Owned by one thread; stateless between frames.

    ``info``, ``golden`` and ``input_size``: see ``edge.vision.detect.Detector``.
    """

    def __init__(
        self,
        network: Network,
        decode: Decode,
        shapes: Mapping[str, Sequence[tuple[int, ...]]],
        *,
        averaged: Decode | None = None,
    ) -> None:
        """Wrap ``network`` and run it once, to check that its outputs fit the decoder.

        Args:
            network: a face-detection network.
            decode: its decoder.
            shapes: role -> shapes that an output may have, see ``Network.warm_up``.
            averaged: the decoder of steadier boxes, if there is one.

        Raises:
            ModelError: an output is missing or has another shape, or the network fails on a
                black picture.
        """
        self._network = network
        self._decode = decode
        self._averaged = averaged
        self.info = network.info
        self.golden = network.manifest.golden
        self.input_size = (network.info.width, network.info.height)
        network.warm_up(shapes)

    @property
    def averaged(self) -> "NetworkDetector":
        """The same detector with steadier boxes; see ``edge.vision.detect.Detector``."""
        if self._averaged is None:
            return self
        other = copy(self)
        other._decode = self._averaged
        return other

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        """Return the faces in ``frame``; see ``edge.vision.detect.Detector``."""
        picture, ratio_x, ratio_y = input_picture(frame, self.input_size)
        stopwatch.lap("resize")
        outputs = self._network.run(picture[None])
        stopwatch.lap("detect")
        found = self._decode(outputs, ratio_x=ratio_x, ratio_y=ratio_y)
        stopwatch.lap("decode_boxes")
        return found
