"""The face mesh network and its decoder: points, coefficients, pose and openness of a face."""

from collections.abc import Mapping, Sequence
from typing import Final

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.vision.inference import Network
from edge.vision.inference.manifest import Manifest
from edge.vision.mesh.names import COEFFICIENTS, POINTS, SIDE_PX
from edge.vision.mesh.openness import eyes_openness, mouth_openness
from edge.vision.mesh.pose import head_pose, true_yaw_deg
from edge.vision.mesh.square import Square, cut_out, square_of
from edge.vision.values import Detection, Floats, Luma, Mesh

PRESENCE_MIN: Final = 0.5
"""Below it the network says that the square holds no face, as its authors use it."""

_ROLES: Final[Mapping[str, Sequence[tuple[int, ...]]]] = {
    "points": [(1, POINTS, 3)],
    "presence": [(1, 1)],
    "coefficients": [(1, len(COEFFICIENTS))],
}


_ACTIVATIONS: Final = {"points": "none", "presence": "sigmoid", "coefficients": "none"}


class FaceMeshNetwork:
    """A face mesh network. Owned by one thread; stateless between faces.

    Attributes:
        info: which artifact of which model runs.
        golden: its expected answer to the golden face (see ``edge.vision.golden``).
    """

    def __init__(self, network: Network) -> None:
        """Wrap ``network`` and run it once, to check that its outputs fit this decoder.

        Raises:
            ModelError: an input or output does not fit, or the network fails on a black picture.
        """
        self._network = network
        self.info = network.info
        self.golden = network.manifest.golden
        if (self.info.width, self.info.height) != (SIDE_PX, SIDE_PX):
            raise ModelError(
                f"model {self.info.name}: input {self.info.width}x{self.info.height}, expected"
                f" {SIDE_PX}x{SIDE_PX} for decoder 'face-mesh'"
            )
        _require_fit(network.manifest)
        network.warm_up(_ROLES)

    def measure(self, luma: Luma, detection: Detection, stopwatch: Stopwatch) -> Mesh | None:
        """Return the mesh of a face; None if the network finds no face at that place.

        Args:
            luma: the full frame.
            detection: the face, in its pixels.
            stopwatch: laps ``mesh``.

        Raises:
            InferenceError: the network failed on this face.
        """
        square = square_of(detection)
        if square is None:
            return None
        outputs = self._network.run(cut_out(luma, square, SIDE_PX)[None])
        mesh = mesh_of(outputs, square)
        stopwatch.lap("mesh")
        return mesh


def _require_fit(manifest: Manifest) -> None:
    """Refuse what this decoder would ignore, or take for something else.

    Raises:
        ModelError: one line that names the field.
    """
    manifest.require_outputs(_ROLES)
    wrong = ""
    for role, activation in _ACTIVATIONS.items():
        output = manifest.outputs[role]
        if output.activation != activation:
            wrong = f"outputs.{role}.activation {output.activation!r}, expected {activation!r}"
        elif output.encoding != "none":
            wrong = f"outputs.{role}.encoding {output.encoding!r}, expected 'none'"
    if unknown := sorted(manifest.outputs.keys() - _ROLES.keys()):
        wrong = f"outputs {', '.join(unknown)}, expected only {', '.join(_ROLES)}"
    if manifest.input.crop is not None:
        wrong = "input.crop, expected none, as the square is cut out around the landmarks"
    elif manifest.labels or manifest.anchors or manifest.unknown_expressions:
        wrong = "labels, unknown_expressions or anchors, expected none, as it knows no expressions"
    elif manifest.stages:
        wrong = "stages, expected none, as one network gives all outputs"
    if wrong:
        raise ModelError(
            f"model {manifest.name}: {wrong}, for decoder {manifest.decoder!r}; export it again"
        )


def mesh_of(outputs: Mapping[str, Floats], square: Square) -> Mesh | None:
    """Return what the outputs for one square say; None if they say that it holds no face.

    Args:
        outputs: by role, with ``presence`` as a probability.
        square: what the network was given.
    """
    if float(outputs["presence"][0, 0]) < PRESENCE_MIN:
        return None
    points = square.to_frame(outputs["points"][0], SIDE_PX)
    left, right = eyes_openness(points)
    pose = head_pose(points)
    return Mesh(
        yaw_deg=true_yaw_deg(pose.yaw_deg),
        pitch_deg=pose.pitch_deg,
        roll_deg=pose.roll_deg,
        left_eye=left,
        right_eye=right,
        mouth=mouth_openness(points),
        coefficients=outputs["coefficients"][0],
        points=points,
    )
