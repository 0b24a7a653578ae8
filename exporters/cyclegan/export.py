"""Exports a CycleGAN generator, NIR to visible light, to a model folder.

Takes ``latest_net_G*.pth`` of the public PyTorch code (see ``layout``) or a generator in ONNX. The
artifacts give the same pictures, with these changes: batch norms are folded into the convolutions
before them; transposed convolutions become convolutions, which runtimes can run in int8 (see
``upsampling``); for mono pictures the first convolution is summed over its three equal channels. A
colour generator stays one; the daemon takes its luma.

In int8 only convolutions are quantised, and not the upsampling ones. Those read the sum of all
residual blocks, whose range is wide: quantising them would lower the PSNR from 48 dB to 31 or 35
dB, for a tenth of the work.
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
from edge.vision.inference.manifest import Manifest, Output, Parity, Source
from edge.vision.inference.network import input_tensor
from edge.vision.translate.cyclegan import CycleGan
from edge.vision.values import Luma
from exporters.artifacts import driver
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
"""Largest error of a float artifact; values lie in -1..1."""

_CITATION: Final = (
    "J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: Unpaired Image-to-Image Translation using"
    " Cycle-Consistent Adversarial Networks, ICCV 2017"
)


def export_cyclegan(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int] = (256, 256),
    mono: bool = False,
    expression: str = "expression-nir",
    licence: str | None = None,
    citation: str | None = None,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a generator; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: ``latest_net_G*.pth``, or an ONNX file with one NCHW input and output of -1..1.
        out: folder to write; its name becomes the model's.
        size: width and height of the pictures, equal, multiples of 4 pixels.
        mono: one grey input channel instead of three.
        expression: name or folder of the expression network to evaluate int8 with.
        licence: of the weights; None: not known.
        citation: publication to cite for the weights; None: that of the architecture.
        options: which artifacts to make, and how.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    width, height = size
    if width != height or width % 4 or not SIDE_MIN <= width <= SIDE_MAX:
        raise ModelError(
            f"--size {width}x{height}: expected a square, as faces are cut out, of a multiple of 4"
            f" from {SIDE_MIN} to {SIDE_MAX} pixels, such as 256x256"
        )
    options.check(converter=False)
    checkpoint = _GeneratorCheckpoint(
        weights, size, mono=mono, expression=expression, terms=(licence, citation), options=options
    )
    return driver.export(out, checkpoint, options)


class _GeneratorCheckpoint:
    """A generator, converted (see ``driver.Checkpoint``)."""

    def __init__(
        self,
        weights: Path,
        size: tuple[int, int],
        *,
        mono: bool,
        expression: str,
        terms: tuple[str | None, str | None],
        options: driver.ExportOptions,
    ) -> None:
        licence, citation = terms
        self._options = options
        self._expression = expression
        self._size = width, height = size
        self._original = original = Original(weights, size)
        self.content = original.converted(mono=mono)
        self.to_lite = _lite_writer(self.content) if "tflite" in options.formats else convert_float
        mono = mono or original.channels == 1
        self.draft = driver.Draft(
            stem="generator",
            float_limits=_FLOAT_LIMITS,
            task="spectrum-translation",
            decoder="cyclegan",
            input=driver.picture_input(original.input, size, mono=mono, value_range=(-1.0, 1.0)),
            outputs={"picture": Output(tensor=original.output)},
            source=Source(
                file=weights.name,
                sha256=original.sha256,
                licence=licence or driver.UNKNOWN,
                citation=citation or _CITATION,
            ),
            options={"size": f"{width}x{height}", "mono": mono, **original.options},
            golden=translation_golden(original.luma, size),
        )
        # run once for all artifacts: the original is slow
        samples = sample_pictures(width, height) if "fp32" in options.precisions else []
        self._samples = _with_contrast(samples)
        self._pictures = [original.picture(sample) for sample in self._samples]
        self._faces: _Faces | None = None
        self._lumas: list[Luma] = []

    def quantisation(self, reference: Network) -> driver.Quantisation:
        folder = self._options.int8_pictures
        if folder is None:
            return driver.Quantisation()
        self._options.progress(f"faces in the pictures of {folder}")
        self._faces = faces = _Faces(folder, self._expression, self._size)
        self._lumas = [self._original.luma(face) for face in faces.evaluate]
        return driver.Quantisation(
            calibration=[input_tensor(self.draft.input, face) for face in faces.calibrate],
            record=faces.record,
            float_nodes=upsampling_nodes(self.content),
            int8_operators=("Conv",),
            options={"board": self._options.board, "expression": self._expression},
        )

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare float artifacts by their values, int8 artifacts by pictures and predictions."""
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
    """Faces, cropped as the daemon crops them, and the network that evaluates their translation.

    Attributes:
        network: the expression network that follows the translator.
        calibrate: faces to measure ranges on.
        evaluate: faces to evaluate the result on.
        record: the manifest's entry for ``calibrate``.
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
    """Return the TensorFlow Lite converter for this generator: our writer, else onnx2tf.

    Raises:
        ModelError: neither can be used here.
    """
    try:
        from exporters.cyclegan.tflite import can_write, write_lite  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "--formats tflite: needs ai-edge-litert; pip install 'affect-edge[litert]'"
        ) from error
    return write_lite if can_write(model) else convert_float


def _with_contrast(pictures: Sequence[Luma]) -> list[Luma]:
    """Return the pictures that have contrast.

    An instance norm divides by the standard deviation of its input. On a uniform picture that is 0,
    and both the original and an artifact only amplify rounding errors.
    """
    return [picture for picture in pictures if picture.min() < picture.max()]
