"""The golden face: a picture with stored answers, on which networks are checked before use.

A network that gets a wrong input (swapped channels, another value range, a wrong row stride) raises
no error: it finds no faces, or predicts the same expression for everyone. Each manifest therefore
holds the expected answer to one bundled picture, and this module compares. The exporter computed
the expected answer with the original network, not with the artifact that is checked.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.clock import Stopwatch, monotonic_ns
from edge.config import Config
from edge.errors import InferenceError, ModelError
from edge.vision.detect import Detector, detector_for
from edge.vision.expression import ExpressionNetwork, expression_for
from edge.vision.expression.crop import square_crop
from edge.vision.inference import Finding, Network
from edge.vision.inference.golden_schema import (
    DetectionGolden,
    ExpressionGolden,
    ExpressionTolerance,
    GoldenPrediction,
    MeshGolden,
    TranslationGolden,
)
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.mesh import mesh_for
from edge.vision.mesh.names import COEFFICIENTS, POINTS
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.pipeline import Pipeline
from edge.vision.resize import area_means
from edge.vision.translate import Translator, translator_for
from edge.vision.values import Box, Detection, Frame, Luma, Mesh, Prediction
from edge.vocabulary import EXPRESSIONS

GOLDEN_FACE: Final = Path(__file__).with_name("data") / "golden-face.png"

CONFIDENT_SCORE: Final = 0.5
"""CenterFace's published threshold; in the golden picture only the face reaches it."""

_PROBABILITY_FLOOR: Final = 1e-6  # below it, differences of logarithms are rounding errors


def golden_picture() -> tuple[Luma, str]:
    """Return the golden face, uint8 (240, 400), and the sha256 of its file.

    Raises:
        ModelError: the file is missing or is no picture.
    """
    try:
        content = GOLDEN_FACE.read_bytes()
    except OSError as error:
        raise ModelError(f"{GOLDEN_FACE}: {error.strerror}; install affect-edge again") from error
    picture = None
    if content:  # OpenCV raises an error on no bytes, and returns None on what it cannot decode
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ModelError(f"{GOLDEN_FACE}: not a picture; install affect-edge again")
    return picture, hashlib.sha256(content).hexdigest()


def golden_frame(picture: Luma) -> Frame:
    """Return ``picture`` as a frame, taken now."""
    now_ns = monotonic_ns()
    return Frame(picture, index=0, sensor_ns=now_ns, clock="monotonic", captured_ns=now_ns)


def open_verified(
    config: Config,
    *,
    first_track: int = 1,
    most_threads: MostThreads = ONE_THREAD,
    on_loaded: Callable[[], None] = lambda: None,
) -> Pipeline:
    """Return the pipeline of the configured networks, which give their golden answers.

    The check also warms them up.

    Args:
        config: names the networks.
        first_track: number of the first track.
        most_threads: of networks whose ``threads`` are ``auto``.
        on_loaded: called after each network that is loaded, before the check.

    Raises:
        ModelError: a network cannot be loaded, or does not give its golden answer.
    """
    pipeline = Pipeline.open(
        config, first_track=first_track, most_threads=most_threads, on_loaded=on_loaded
    )
    for finding in golden_findings(
        pipeline.detector,
        pipeline.expression,
        pipeline.translator,
        region_detector=pipeline.region_detector,
        mesh=pipeline.mesh,
    ):
        raise ModelError(str(finding))
    return pipeline


def golden_findings(
    detector: Detector,
    expression: ExpressionNetwork,
    translator: Translator | None = None,
    *,
    region_detector: Detector | None = None,
    mesh: FaceMeshNetwork | None = None,
) -> list[Finding]:
    """Return the deviations of the networks from the golden answers; empty if there are none.

    Each network is checked alone: the expression network gets the face without translation.

    Raises:
        ModelError: the golden face itself is missing.
    """
    findings = [*detection_findings(detector), *expression_findings(expression)]
    if region_detector is not None:
        findings += detection_findings(region_detector, "region_detector")
    if translator is not None:
        findings += translation_findings(translator)
    return findings if mesh is None else [*findings, *mesh_findings(mesh)]


def network_findings(network: Network) -> list[Finding]:
    """Return the deviations of ``network`` from the golden answers of its manifest.

    Raises:
        ModelError: the golden face is missing, or nothing here decodes the network.
    """
    match network.manifest.task:
        case "face-detection":
            return detection_findings(detector_for(network, threshold=0.5, nms_iou=0.3))
        case "spectrum-translation":
            return translation_findings(translator_for(network))
        case "face-mesh":
            return mesh_findings(mesh_for(network))
        case "facial-expression":
            return expression_findings(expression_for(network, {}))


def detection_findings(detector: Detector, role: str = "detector") -> list[Finding]:
    """Return the deviations of the detector from its golden answer; ``role`` names it in them."""
    picture, digest = golden_picture()
    frame = golden_frame(picture)
    golden = detector.golden
    if not isinstance(golden, DetectionGolden) or golden.picture_sha256 != digest:
        return [Finding(role, _picture_mismatch(digest))]
    try:
        found = detector.detect(frame, Stopwatch())
    except InferenceError as error:
        return [Finding(role, f"golden face: {error}")]
    if not found:
        reason = (
            f"no face found, expected one with score {golden.score:.2f}; is the threshold higher?"
        )
        return [Finding(role, f"golden face: {reason}")]
    face, expected = found[0], Box(*golden.box)
    allowed = golden.tolerance(detector.info.precision)
    findings = []
    # with a low threshold there may be weak false detections: only confident faces are counted
    if (count := sum(each.score >= CONFIDENT_SCORE for each in found)) > 1:
        findings.append(f"{count} faces found, expected 1")
    if not (iou := face.box.iou(expected)) >= allowed.iou_min:
        findings.append(
            f"box has an IoU of {iou:.2f} with the expected one, at least {allowed.iou_min}"
        )
    if golden.landmarks is None or face.landmarks is None:
        if golden.landmarks is not None or face.landmarks is not None:
            findings.append("landmarks are given where none are expected, or the other way round")
    else:
        landmarks = np.array(golden.landmarks, np.float32)
        distance = float(np.linalg.norm(face.landmarks - landmarks, axis=1).max()) / expected.height
        if not distance <= allowed.landmark_max:
            findings.append(
                f"landmarks off by {distance:.2f} of the face's height, at most"
                f" {allowed.landmark_max}"
            )
    if not abs(face.score - golden.score) <= allowed.score_max:
        findings.append(
            f"score {face.score:.2f}, expected {golden.score:.2f} within {allowed.score_max}"
        )
    return [Finding(role, f"golden face: {each}") for each in findings]


def expression_findings(network: ExpressionNetwork) -> list[Finding]:
    """Return the deviations of the expression network, without priors, from its golden answer."""
    network = network.without_priors
    picture, digest = golden_picture()
    frame = golden_frame(picture)
    golden = network.golden
    if not isinstance(golden, ExpressionGolden) or golden.picture_sha256 != digest:
        return [Finding("expression", _picture_mismatch(digest))]
    findings = []
    for expected in golden.readings:
        try:
            prediction = network.predict(frame, Box(*expected.box), Stopwatch())
        except InferenceError as error:
            return [Finding("expression", f"golden face: {error}")]
        tolerance = golden.tolerance(network.info.precision)
        if differences := _differences(prediction, expected, tolerance):
            findings.append(Finding("expression", f"golden face: {', '.join(differences)}"))
    return findings


def translation_findings(translator: Translator) -> list[Finding]:
    """Return the deviations of the translator from its golden answer.

    A translator without a golden answer is only run on the golden face.
    """
    picture, digest = golden_picture()
    golden = translator.golden
    expected = golden if isinstance(golden, TranslationGolden) else None
    if expected is not None and expected.picture_sha256 != digest:
        return [Finding("translator", _picture_mismatch(digest))]
    box = Box(*expected.box) if expected else Box(0, 0, picture.shape[1], picture.shape[0])
    size = (translator.info.width, translator.info.height)
    try:
        face = translator.translate(square_crop(picture, box, size, 0.0))
    except InferenceError as error:
        return [Finding("translator", f"golden face: {error}")]
    if expected is None:
        return []
    levels = np.array(expected.levels, np.float32)
    rows, columns = levels.shape
    difference = float(np.abs(area_means(face, (columns, rows)) - levels).mean())
    allowed = expected.tolerance(translator.info.precision)
    if difference <= allowed:
        return []
    problem = f"golden face: mean difference from the expected picture {difference:.1f} grey levels"
    return [Finding("translator", f"{problem}, at most {allowed:g}")]


def mesh_findings(network: FaceMeshNetwork) -> list[Finding]:
    """Return the deviations of a face mesh network from its golden answer."""
    picture, digest = golden_picture()
    golden = network.golden
    if not isinstance(golden, MeshGolden) or golden.picture_sha256 != digest:
        return [Finding("mesh", _picture_mismatch(digest))]
    box = Box(*golden.box)
    detection = Detection(box, np.array(golden.landmarks, np.float32), 1.0)
    try:
        mesh = network.measure(picture, detection, Stopwatch())
    except InferenceError as error:
        return [Finding("mesh", f"golden face: {error}")]
    if mesh is None:
        return [Finding("mesh", "golden face: the network finds no face")]
    distance, difference = _mesh_deviations(mesh, golden)
    texts = []
    if not distance <= golden.point_max:
        texts.append(f"points off by {distance:.3f} of the face, at most {golden.point_max}")
    if not difference <= golden.coefficient_max:
        texts.append(f"coefficients off by {difference:.3f}, at most {golden.coefficient_max}")
    return [Finding("mesh", f"golden face: {each}") for each in texts]


def _mesh_deviations(mesh: Mesh, golden: MeshGolden) -> tuple[float, float]:
    """Return the largest distance of a point in sizes of the box, and of a coefficient.

    Both are infinite where the golden answer names what the mesh has not.
    """
    if not (
        set(golden.points) <= set(range(POINTS)) and set(golden.coefficients) <= {*COEFFICIENTS}
    ):
        return math.inf, math.inf
    gaps = mesh.points[list(golden.points), :2] - np.array([*golden.points.values()], np.float32)
    distance = float(np.linalg.norm(gaps, axis=1).max()) / max(golden.box[2:])
    found = dict(zip(COEFFICIENTS, mesh.coefficients.tolist(), strict=True))
    differences = [abs(found[name] - value) for name, value in golden.coefficients.items()]
    return distance, max(differences)


def _differences(
    prediction: Prediction, expected: GoldenPrediction, tolerance: ExpressionTolerance
) -> list[str]:
    """Return one text for each value beyond its tolerance, not finite ones included."""
    texts = []
    for label, value in zip(EXPRESSIONS, prediction.probabilities.tolist(), strict=True):
        known = expected.probabilities.get(label)
        if known is None or label in prediction.unknown:
            if known is not None or label not in prediction.unknown:
                texts.append(f"{label} is {'known' if known is None else 'unknown'} to the network")
            continue
        log_difference = abs(_logarithm(value) - _logarithm(known))
        if not (
            abs(value - known) <= tolerance.probability_max
            and log_difference <= tolerance.log_probability_max
        ):
            texts.append(f"{label} {value:.2g}, expected {known:.2g}")
    for name, value, known in (
        ("valence", prediction.affect.valence, expected.valence),
        ("arousal", prediction.affect.arousal, expected.arousal),
    ):
        if not abs(value - known) <= tolerance.affect_max:
            texts.append(f"{name} {value:.2f}, expected {known:.2f}")
    return texts


def _logarithm(probability: float) -> float:
    return math.log(max(probability, _PROBABILITY_FLOOR))


def _picture_mismatch(digest: str) -> str:
    return (
        f"golden face: the manifest has no answer to this picture (sha256 {digest[:12]}...);"
        " export the model again with this version"
    )
