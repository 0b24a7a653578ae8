"""A CycleGAN generator, NIR -> visible light -> a model folder for the daemon.

Takes ``latest_net_G*.pth`` of the public PyTorch code (see ``layout``) or a generator that is ONNX
already. What changes, and why the pictures do not: batch-norms go into the
convolutions before them, transposed convolutions become convolutions that runtimes can run in
int8 (see ``upsampling``), and for mono pictures the first convolution is summed over its three
equal channels. Colour that the generator gives stays; the daemon takes its luma.

In int8 only convolutions are quantised, and not those that double the picture: they take the sum
of all residual blocks, whose range is wide, and cost 13 to 17 dB (31 and 35 instead of 48) for a
tenth of the work.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import edge
from benchmarks.evaluation.pictures import exact_network, face_crops, split_pictures
from benchmarks.evaluation.translation_agreement import translation_agreement
from edge.config import DetectorConfig
from edge.errors import ModelError
from edge.vision.detect import open_detector
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture, translation_findings
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import TranslationGolden
from edge.vision.inference.manifest import (
    Exporter,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Parity,
    Source,
)
from edge.vision.inference.network import input_tensor
from edge.vision.resize import area_means
from edge.vision.translate.cyclegan import CycleGan
from edge.vision.values import Box, Luma
from exporters.artifacts.build import Told, build_artifacts, check_tools
from exporters.artifacts.parity import TRANSLATION_LIMITS, judged, measure, sample_pictures
from exporters.artifacts.quantize import Board
from exporters.artifacts.tflite import convert_float
from exporters.artifacts.write import prove_and_write, unmeasured
from exporters.cyclegan.original import Original
from exporters.cyclegan.upsampling import doubling_nodes

SIDE_MIN, SIDE_MAX = 16, 1024

_LIMITS: Final = {"picture": 2e-3}
"""Largest error of a value of a float artifact, of -1..1."""

_BOX: Final = (123.1, 38.9, 151.0, 151.0)
"""The square around the face in the golden picture, x, y, width, height."""

_CELLS: Final = (8, 8)
_LEVEL_MAX: Final = 6.0
_LEVEL_SHARES: Final = {"fp32": (0.3, 1 / 8), "int8": (2.0, 1 / 2)}
"""Precision -> grey levels that the golden face may be off by on the mean: at least the first, up
to that share of what its cells differ by, and at most ``_LEVEL_MAX``. A picture turned over differs
by about as much as the cells do."""

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
    formats: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = ("fp32",),
    calibration: Path | None = None,
    expression: str = "expression-nir",
    board: Board = "x86",
    allow_parity_loss: bool = False,
    tell: Told = lambda text: None,
) -> Manifest:
    """Write the model folder ``out`` from a generator; return its manifest.

    Args:
        weights: ``latest_net_G*.pth``, or an ONNX file with one NCHW input and output of -1..1.
        out: folder to write; its name becomes the model's.
        size: width and height of the pictures, equal, multiples of 4 pixels.
        mono: one grey input channel instead of three.
        formats: some of ``exporters.artifacts.build.FORMATS``.
        precisions: some of ``exporters.artifacts.build.PRECISIONS``.
        calibration: folder of pictures with faces, needed for int8.
        expression: name or folder of the expression network behind, which int8 is judged by.
        board: whose int8 kernels to quantise the ONNX artifact for.
        allow_parity_loss: write artifacts that miss their limit, too.
        tell: called with a line before each step that takes long.

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
    check_tools(formats, precisions, calibrated=calibration is not None, converter=False)
    original = Original(weights, size)
    model = original.converted(mono=mono)
    mono = mono or original.channels == 1
    input_ = Input(
        name=original.input,
        shape=(1, 1 if mono else 3, height, width),
        layout="nchw",
        dtype="float32",
        colour="mono" if mono else "rgb",
        value_range=(-1.0, 1.0),
        normalisation=NoNormalisation(kind="none"),
    )
    faces = None
    if calibration is not None and "int8" in precisions:
        tell(f"faces in the pictures of {calibration}")
        faces = _Faces(calibration, expression, size)
    contents = build_artifacts(
        model,
        stem="generator",
        formats=formats,
        precisions=precisions,
        calibration=[input_tensor(input_, face) for face in (faces.calibrate if faces else ())],
        int8_operators=("Conv",),
        float_nodes=doubling_nodes(model),
        board=board,
        to_lite=_lite_writer(model) if "tflite" in formats else convert_float,
        tell=tell,
    )
    draft = Manifest(
        name=out.name,
        task="spectrum-translation",
        decoder="cyclegan",
        artifacts=tuple(contents),
        input=input_,
        outputs={"picture": Output(tensor=original.output)},
        source=Source(
            file=weights.name, sha256=original.sha256, licence=_LICENCE, citation=_CITATION
        ),
        exporter=Exporter(
            version=edge.__version__,
            options={
                "size": f"{width}x{height}",
                "mono": mono,
                **original.options,
                **({"board": board, "expression": expression} if faces else {}),
            },
        ),
        calibration=faces.record if faces else None,
        parity={artifact.file: unmeasured(_LIMITS) for artifact in contents},
        golden=translation_golden(original.luma, size),
    )

    # once for all artifacts: the original is the slowest of them
    samples = _lively(sample_pictures(width, height)) if "fp32" in precisions else []
    pictures = [original.picture(sample) for sample in samples]
    lumas = [original.luma(face) for face in (faces.judge if faces else ())]

    def parity(network: Network) -> Parity:
        tell(f"parity of {network.info.artifact}")
        if faces and network.info.precision == "int8":
            translate = CycleGan(network).translate
            made = [translate(face) for face in faces.judge]
            figures = translation_agreement(lumas, made, faces.network)
            return judged(figures, TRANSLATION_LIMITS, len(faces.judge))
        pairs = (
            ({"picture": picture}, network.run(sample[None]))
            for picture, sample in zip(pictures, samples, strict=True)
        )
        return measure(pairs, _LIMITS)

    return prove_and_write(
        out,
        draft,
        {artifact.file: content for artifact, content in contents.items()},
        parity=parity,
        findings=lambda network: translation_findings(CycleGan(network)),
        allow_parity_loss=allow_parity_loss,
    )


class _Faces:
    """Faces cut out of a folder's pictures as the daemon cuts them, and who judges the result.

    Attributes:
        network: the expression network behind.
        calibrate: faces to measure integer ranges on.
        judge: faces to judge the result with.
        record: what the manifest says of ``calibrate``.
    """

    def __init__(self, folder: Path, expression: str, size: tuple[int, int]) -> None:
        self.network = exact_network(expression, "facial-expression")
        crop = self.network.manifest.input.crop
        margin = crop.margin if crop else 0.0
        detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
        split = split_pictures(folder)
        self.calibrate, self.judge = (
            [*face_crops(pictures, detector, size, margin)]
            for pictures in (split.calibrate, split.judge)
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


def _lively(pictures: Sequence[Luma]) -> list[Luma]:
    """Return the pictures that show anything.

    An instance norm divides by the spread of its input, and a picture of one level has none: there
    a generator only makes rounding errors larger, its own as well as an artifact's.
    """
    return [picture for picture in pictures if picture.min() < picture.max()]


def translation_golden(
    translate: Callable[[Luma], Luma], size: tuple[int, int]
) -> TranslationGolden:
    """Return what a generator makes of the golden face.

    Args:
        translate: runs the generator whose answers are the expected ones.
        size: width and height of its input.
    """
    picture, digest = golden_picture()
    levels = area_means(translate(square_crop(picture, Box(*_BOX), size, 0.0)), _CELLS)
    bounds = {
        precision: round(min(_LEVEL_MAX, max(least, share * float(levels.std()))), 2)
        for precision, (least, share) in _LEVEL_SHARES.items()
    }
    return TranslationGolden(
        kind="translation",
        picture_sha256=digest,
        box=_BOX,
        levels=tuple(tuple(round(float(level), 1) for level in row) for row in levels),
        level_max=bounds["fp32"],
        int8_level_max=bounds["int8"],
    )
