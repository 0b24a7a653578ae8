"""Computes new golden answers for a model folder from its own float network.

Needed when the preprocessing changes: another resize, another crop. The artifacts stay unchanged.
The float network agreed with the original at export, so its answers stand for the original's.
"""

from pathlib import Path

from benchmarks.evaluation.pictures import float_network
from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.expression import expression_for
from edge.vision.golden import golden_frame, golden_picture, network_findings
from edge.vision.inference import Network, find_model, load_manifest
from edge.vision.inference.golden_schema import Golden
from edge.vision.inference.manifest import Manifest
from edge.vision.inference.opening import load_artifact
from edge.vision.mesh import mesh_for
from edge.vision.translate import translator_for
from edge.vision.values import Box, Luma
from exporters.artifacts.detectors import golden_of_faces
from exporters.artifacts.write import write_model
from exporters.cyclegan.golden import translation_golden
from exporters.expression.golden import expression_golden
from exporters.mesh.golden import mesh_golden


def remake_golden(model: str | Path) -> Manifest:
    """Write new golden answers into a model's manifest; return the manifest.

    Nothing is written unless every artifact that passed parity gives the new answers.

    Args:
        model: name of a bundled model, or path of a model folder.

    Raises:
        ModelError: the folder is not valid or cannot be written, has no float artifact that passed
            parity, or an artifact does not give the answers; one line.
    """
    folder = find_model(model)
    manifest = load_manifest(folder)
    reference = float_network(folder, manifest.task)
    manifest = manifest.model_copy(update={"golden": golden_of(reference)})
    for artifact in manifest.artifacts:
        if not manifest.parity[artifact.file].passed:
            continue
        network = load_artifact(folder, manifest, artifact, 1)
        if found := network_findings(network):
            raise ModelError(f"{folder}: {artifact.file}: {found[0]}; nothing was written")
    write_model(folder, manifest, {})
    return manifest


def golden_of(network: Network) -> Golden:
    """Return the golden answers of ``network``, the float network."""
    manifest, size = network.manifest, (network.info.width, network.info.height)
    int8 = any(each.precision == "int8" for each in manifest.artifacts)
    if manifest.task == "face-detection":
        detector = detector_for(network, threshold=0.5, nms_iou=0.3)
        found = detector.detect(golden_frame(golden_picture()[0]), Stopwatch())
        return golden_of_faces(found, size, int8=int8)
    if manifest.task == "spectrum-translation":
        return translation_golden(translator_for(network).translate, size)
    if manifest.task == "face-mesh":
        return mesh_golden(mesh_for(network).measure)
    expression = expression_for(network, {})

    def predict(picture: Luma, box: Box) -> tuple[list[float], tuple[float, float]]:
        prediction = expression.predict(golden_frame(picture), box, Stopwatch())
        affect = prediction.affect
        return prediction.probabilities.tolist(), (affect.valence, affect.arousal)

    plain = [head.recalibrated for head in manifest.heads or () if not head.takes_coefficients]
    return expression_golden(
        predict,
        manifest.recalibration,
        int8=int8,
        labels=manifest.labels,
        recalibrated=plain[0] if plain else 1.0,
    )
