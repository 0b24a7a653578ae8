"""A CycleGAN generator, NIR -> visible light -> a model folder for the daemon.

Takes ``latest_net_G*.pth`` of the public PyTorch code (see ``layout``) or a generator in ONNX. The
artifacts differ from it, and make the same pictures. Batch-norms are folded into the convolutions
before them. Transposed convolutions become convolutions that runtimes can run in int8 (see
``upsampling``). For mono pictures the first convolution is summed over its three equal channels. A
generator that gives colour still does; the daemon takes its luma.

In int8 only convolutions are quantised, and not those that double the picture: they take the sum
of all residual blocks, whose range is wide, and cost 13 to 17 dB (31 and 35 instead of 48) for a
tenth of the work.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.evaluation.pictures import face_crops, float_network, split_pictures
from benchmarks.evaluation.translation_agreement import translation_agreement
from edge.config import DetectorConfig
from edge.errors import ModelError
from edge.vision.detect import open_detector
from edge.vision.inference import Network
from edge.vision.inference.manifest import (
    Manifest,
    Output,
    Parity,
    Source,
)
from edge.vision.inference.network import input_tensor
from edge.vision.translate.cyclegan import CycleGan
from edge.vision.values import Luma
from exporters.artifacts.driver import (
    DEFAULT_OPTIONS,
    Draft,
    ExportOptions,
    Quantisation,
    export,
    picture_input,
)
from exporters.artifacts.parity import (
    TRANSLATION_LIMITS,
    check_against_limits,
    measure,
    sample_pictures,
)
from exporters.artifacts.tflite import convert_float
from exporters.cyclegan.golden import translation_golden
from exporters.cyclegan.original import Original
from exporters.cyclegan.upsampling import upsampling_nodes

SIDE_MIN, SIDE_MAX = 16, 1024

_FLOAT_LIMITS: Final = {"picture": 2e-3}
"""Largest error of a value of a float artifact, of -1..1."""

_CITATION: Final = (
    "J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: Unpaired Image-to-Image Translation using"
    " Cycle-Consistent Adversarial Networks, ICCV 2017"
)
_LICENCE: Final = "not stated in the file; ask whoever trained it"


def export_cyclegan(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int] = (256, 256),
    mono: bool = False,
    expression: str = "expression-nir",
    options: ExportOptions = DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a generator; return its manifest.

    Args:
        weights: ``latest_net_G*.pth``, or an ONNX file with one NCHW input and output of -1..1.
        out: folder to write; its name becomes the model's.
        size: width and height of the pictures, equal, multiples of 4 pixels.
        mono: one grey input channel instead of three.
        expression: name or folder of the expression network that int8 is evaluated with.
        options: which artifacts to make, and how.

    Returns:
        The manifest; nothing was written where an artifact missed its limit and that is not
        allowed.

    Raises:
        ModelError: an option or the file does not fit, a tool is missing, or the result does not
            meet the golden face; one line.
    """
    width, height = size
    if width != height or width % 4 or not SIDE_MIN <= width <= SIDE_MAX:
        raise ModelError(
            f"--size {width}x{height}: expected a square, as faces are cut out, of a multiple of 4"
            f" from {SIDE_MIN} to {SIDE_MAX} pixels, such as 256x256"
        )
    options.check(converter=False)
    checkpoint = _GeneratorCheckpoint(weights, size, mono, expression, options)
    return export(out, checkpoint, options)


class _GeneratorCheckpoint:
    """A generator, converted (see ``driver.Checkpoint``)."""

    def __init__(
        self,
        weights: Path,
        size: tuple[int, int],
        mono: bool,
        expression: str,
        options: ExportOptions,
    ) -> None:
        self._options = options
        self._expression = expression
        self._size = width, height = size
        self._original = original = Original(weights, size)
        self.content = original.converted(mono=mono)
        self.to_lite = _lite_writer(self.content) if "tflite" in options.formats else convert_float
        mono = mono or original.channels == 1
        self.draft = Draft(
            stem="generator",
            float_limits=_FLOAT_LIMITS,
            task="spectrum-translation",
            decoder="cyclegan",
            input=picture_input(original.input, size, mono=mono, value_range=(-1.0, 1.0)),
            outputs={"picture": Output(tensor=original.output)},
            source=Source(
                file=weights.name, sha256=original.sha256, licence=_LICENCE, citation=_CITATION
            ),
            options={"size": f"{width}x{height}", "mono": mono, **original.options},
            golden=translation_golden(original.luma, size),
        )
        # once for all artifacts: the original is the slowest of them
        samples = sample_pictures(width, height) if "fp32" in options.precisions else []
        self._samples = _with_contrast(samples)
        self._pictures = [original.picture(sample) for sample in self._samples]
        self._faces: _Faces | None = None
        self._lumas: list[Luma] = []

    def quantisation(self, reference: Network) -> Quantisation:
        folder = self._options.int8_pictures
        if folder is None:
            return Quantisation()
        self._options.progress(f"faces in the pictures of {folder}")
        self._faces = faces = _Faces(folder, self._expression, self._size)
        self._lumas = [self._original.luma(face) for face in faces.evaluate]
        return Quantisation(
            calibration=[input_tensor(self.draft.input, face) for face in faces.calibrate],
            record=faces.record,
            float_nodes=upsampling_nodes(self.content),
            int8_operators=("Conv",),
            options={"board": self._options.board, "expression": self._expression},
        )

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare float artifacts by their values, int8 ones by pictures and expressions."""
        if self._faces and network.info.precision == "int8":
            translate = CycleGan(network).translate
            made = [translate(face) for face in self._faces.evaluate]
            figures = translation_agreement(self._lumas, made, self._faces.network)
            return check_against_limits(figures, TRANSLATION_LIMITS, len(self._faces.evaluate))
        pairs = (
            ({"picture": picture}, network.run(sample[None]))
            for picture, sample in zip(self._pictures, self._samples, strict=True)
        )
        return measure(pairs, _FLOAT_LIMITS)


class _Faces:
    """Faces, cut as the daemon cuts them, and the network that evaluates what is made of them.

    Attributes:
        network: the expression network behind.
        calibrate: faces to measure integer ranges on.
        evaluate: faces to evaluate the result with.
        record: what the manifest records of ``calibrate``.
    """

    def __init__(self, folder: Path, expression: str, size: tuple[int, int]) -> None:
        self.network = float_network(expression, "facial-expression")
        crop = self.network.manifest.input.crop
        margin = crop.margin if crop else 0.0
        detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
        split = split_pictures(folder)
        self.calibrate, self.evaluate = (
            [*face_crops(pictures, detector, size, margin)]
            for pictures in (split.calibrate, split.evaluate)
        )
        self.record = split.record


def _lite_writer(model: bytes) -> Callable[[bytes], bytes]:
    """Return what makes TensorFlow Lite of this generator: our own writer where it can.

    Raises:
        ModelError: neither that nor onnx2tf can be used here.
    """
    try:
        from exporters.cyclegan.tflite import can_write, write_lite  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "--formats tflite: needs ai-edge-litert; pip install 'affect-edge[litert]'"
        ) from error
    return write_lite if can_write(model) else convert_float


def _with_contrast(pictures: Sequence[Luma]) -> list[Luma]:
    """Return the pictures that have any contrast.

    An instance norm divides by the spread of its input, and a picture of one level has none: there
    a generator only makes rounding errors larger, its own as well as an artifact's.
    """
    return [picture for picture in pictures if picture.min() < picture.max()]
