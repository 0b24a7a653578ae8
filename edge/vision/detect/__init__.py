"""Face detection: finds the faces in a frame. Stateless between frames.

To add a detector: a file here, its decoder's name in a manifest, a ``case`` below, and a line in
``tests/support/networks.py``. A detector of one network is a decoder in a ``NetworkDetector``. All
share ``suppression`` and ``input_picture``.
"""

from pathlib import Path
from typing import Protocol

from edge.clock import Stopwatch
from edge.config import DetectorConfig
from edge.vision.inference import Network, NetworkInfo, open_configured
from edge.vision.inference.golden_schema import Golden
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.values import Detection, Frame


class Detector(Protocol):
    """Finds faces. Owned by one thread."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the picture the network takes, pixels."""

    @property
    def info(self) -> NetworkInfo:
        """Which artifact of which model runs."""

    @property
    def golden(self) -> Golden | None:
        """Its expected answer to the golden face (see ``edge.vision.golden``)."""

    @property
    def averaged(self) -> "Detector":
        """The same detector, with boxes and landmarks that are steadier from frame to frame.

        They are means over what the network says of a face, instead of its best guess; ``golden``
        describes the best guess. A detector without such means returns itself. Both share the
        network: use them in one thread.
        """

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        """Return the faces in ``frame``, highest score first, in pixels of the full frame.

        Laps ``resize``, ``detect`` and ``decode_boxes``.

        Raises:
            InferenceError: the network failed on this frame.
        """


def open_detector(
    config: DetectorConfig, state_dir: Path | None = None, most_threads: MostThreads = ONE_THREAD
) -> Detector:
    """Return the configured detector, loaded, verified and run once.

    ``state_dir`` is the daemon's folder, where the fastest artifact on this machine is recorded.
    ``most_threads``: where the configuration says ``auto``.

    Raises:
        ModelError: the model fails verification, or its decoder is unknown here.
    """
    network = open_configured(config, "face-detection", state_dir, most_threads)
    return detector_for(network, threshold=config.threshold, nms_iou=config.nms_iou)


def detector_for(network: Network, *, threshold: float, nms_iou: float) -> Detector:
    """Return the detector that ``network``'s manifest names, run once.

    Args:
        network: a loaded face-detection network.
        threshold: score a face must exceed, 0..1.
        nms_iou: overlap from which the lower-scored of two faces is dropped, 0..1.

    Raises:
        ModelError: its decoder is unknown here, or its outputs do not fit the decoder.
    """
    match network.manifest.decoder:
        case "centerface":
            from edge.vision.detect.centerface import centerface  # noqa: PLC0415

            return centerface(network, threshold=threshold, nms_iou=nms_iou)
        case "retinaface":
            from edge.vision.detect.retinaface import retinaface  # noqa: PLC0415

            return retinaface(network, threshold=threshold, nms_iou=nms_iou)
        case "mtcnn":
            from edge.vision.detect.mtcnn import Mtcnn  # noqa: PLC0415

            return Mtcnn(network, threshold=threshold, nms_iou=nms_iou)
        case "yunet":
            from edge.vision.detect.yunet import yunet  # noqa: PLC0415

            return yunet(network, threshold=threshold, nms_iou=nms_iou)
        case "viola-jones":
            from edge.vision.detect.viola_jones import viola_jones  # noqa: PLC0415

            return viola_jones(network, threshold=threshold, nms_iou=nms_iou)
        case _:
            raise network.manifest.unknown_decoder(
                "centerface", "mtcnn", "retinaface", "viola-jones", "yunet"
            )
