"""The face mesh network: its answers to real faces, turned faces, and pictures without one."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation.turned_faces import FaceModel, rotation
from edge.clock import Stopwatch
from edge.config import MeshConfig
from edge.errors import ModelError
from edge.vision.golden import golden_picture, mesh_findings
from edge.vision.inference import find_model
from edge.vision.mesh import open_mesh
from edge.vision.mesh.names import COEFFICIENTS, SUMMARY
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.mesh.pose import _CANONICAL, _INDICES, head_pose, true_yaw_deg
from edge.vision.values import Box, Detection, Frame, Mesh
from tests.support.model_folders import changed_copy
from tests.vision.mesh.conftest import Measuring

EYES = np.array([[173, 101], [220, 105], [194, 126], [172, 143], [212, 146]], np.float32)


def test_the_mesh_is_off_by_default() -> None:
    assert open_mesh(MeshConfig()) is None


@pytest.mark.parametrize("artifact", ["mesh.onnx", "mesh.tflite"])
def test_each_artifact_gives_the_golden_answer(artifact: str) -> None:
    found = open_mesh(MeshConfig(enabled=True, artifact=artifact))
    assert found is not None
    assert mesh_findings(found) == []


@pytest.mark.parametrize(
    "change",
    [
        {"value_range": [0.0, 1.0]},
        {"value_range": [255.0, 0.0]},
        {"normalisation": {"kind": "fixed", "mean": 100.0, "std": 0.4}},
    ],
)
def test_a_wrong_input_is_found_by_the_golden_face(tmp_path: Path, change: dict) -> None:
    def changed(manifest: dict) -> None:
        manifest["input"] |= change

    folder = changed_copy(find_model("face-mesh"), tmp_path / "face-mesh", changed)
    try:
        found = open_mesh(MeshConfig(enabled=True, model=str(folder), artifact="mesh.tflite"))
    except ModelError:
        return
    assert found is not None
    assert mesh_findings(found)


def output(role: str, **more: str) -> dict:
    """Return a change of a manifest: the output of a role has only these fields."""
    return {"outputs": {role: {"tensor": "points", **more}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (output("presence"), "outputs.presence.activation 'none', expected 'sigmoid'"),
        (output("points", activation="sigmoid"), "outputs.points.activation 'sigmoid'"),
        (output("points", encoding="(s-0.5)*2"), "outputs.points.encoding '(s-0.5)*2'"),
        (output("irises"), "outputs irises, expected only points"),
        ({"outputs": {"points": {"tensor": "coefficients"}}}, "points has the shape"),
        ({"input": {"crop": {"shape": "square", "margin": 0.1}}}, "input.crop, expected none"),
        ({"labels": ["happy"]}, "labels, unknown_expressions or anchors, expected none"),
    ],
)
def test_a_manifest_that_does_not_fit_the_decoder_is_one_line(
    tmp_path: Path, change: dict, words: str
) -> None:
    def changed(manifest: dict) -> None:
        for key, value in change.items():
            manifest[key] = {**manifest[key], **value} if isinstance(value, dict) else value

    folder = changed_copy(find_model("face-mesh"), tmp_path / "face-mesh", changed)
    with pytest.raises(ModelError, match=re.escape(words)) as refused:
        open_mesh(MeshConfig(enabled=True, model=str(folder), artifact="mesh.tflite"))
    assert "\n" not in str(refused.value)
    assert "face-mesh" in str(refused.value)


def test_names_are_those_of_the_coefficients() -> None:
    assert len(set(COEFFICIENTS)) == 52
    assert set(SUMMARY) < set(COEFFICIENTS)


def test_the_canonical_face_has_the_pose_by_which_it_is_turned() -> None:
    points = np.zeros((478, 3))
    points[list(_INDICES)] = _CANONICAL * (1, -1, -1)
    for angles in ((0, 0, 0), (30, 0, 0), (-10, 25, 0), (20, -15, 40), (-60, 5, -80)):
        pose = head_pose((points @ rotation(*angles).T * 7 + 300).astype(np.float32))
        found = pose.yaw_deg, pose.pitch_deg, pose.roll_deg
        assert found == pytest.approx(angles, abs=1e-2)


def test_the_corrected_yaw_is_odd_and_grows_up_to_a_quarter_turn() -> None:
    yaws = np.arange(-90, 91, 1.0)
    corrected = np.array([true_yaw_deg(yaw) for yaw in yaws.tolist()])
    assert corrected == pytest.approx(-corrected[::-1])
    assert (np.diff(corrected) > 0).all()
    assert corrected[[0, 90, -1]] == pytest.approx([-90, 0, 90])
    assert true_yaw_deg(26.0) == pytest.approx(30, abs=0.2)
    assert true_yaw_deg(120.0) == 120.0


def test_a_smile_with_open_eyes_is_one(clip_mesh: Mesh) -> None:
    values = dict(zip(COEFFICIENTS, clip_mesh.coefficients.tolist(), strict=True))
    assert min(values["mouthSmileLeft"], values["mouthSmileRight"]) > 0.5
    assert min(clip_mesh.left_eye, clip_mesh.right_eye) > 0.8
    assert clip_mesh.mouth < 0.4


def test_the_mirror_image_has_the_mirrored_pose(
    measure: Measuring, clip_frame: Frame, clip_mesh: Mesh
) -> None:
    mirrored = measure(np.ascontiguousarray(clip_frame.luma[:, ::-1]))
    assert mirrored.yaw_deg == pytest.approx(-clip_mesh.yaw_deg, abs=4)
    assert mirrored.roll_deg == pytest.approx(-clip_mesh.roll_deg, abs=2)
    assert mirrored.pitch_deg == pytest.approx(clip_mesh.pitch_deg, abs=4)


def test_turned_heads_have_their_pose(
    measure: Measuring, clip_face: FaceModel, clip_mesh: Mesh
) -> None:
    own = rotation(clip_mesh.yaw_deg, clip_mesh.pitch_deg, clip_mesh.roll_deg)
    errors = []
    for yaw in (-30, -15, 0, 15, 30):
        for pitch, roll in ((-15, 0), (0, 15), (15, -15)):
            mesh = measure(clip_face.turned(yaw, pitch, roll))
            wanted = (rotation(yaw, pitch, roll) @ own).T
            x, y, z = (wanted.T @ (0, 0, -1)).tolist()  # where the nose points
            errors.append(
                (
                    mesh.yaw_deg - np.degrees(np.arctan2(x, -z)),
                    mesh.pitch_deg - np.degrees(np.arcsin(-y)),
                )
            )
    assert (np.median(np.abs(errors), axis=0) <= 5).all()
    assert np.abs(errors).max() <= 10


def test_lids_that_close_are_measured(measure: Measuring, clip_face: FaceModel) -> None:
    found = []
    for openness in (1.0, 0.6, 0.2, 0.0):
        mesh = measure(clip_face.with_lids(openness))
        found.append((mesh.left_eye + mesh.right_eye) / 2)
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.8
    assert found[-1] < 0.4


def test_a_place_without_a_face_has_no_mesh(network: FaceMeshNetwork) -> None:
    picture = golden_picture()[0]
    face = Detection(Box(145, 59, 97, 119), EYES, 1.0)
    assert network.measure(picture, face, Stopwatch()) is not None
    noise = np.random.default_rng(1).integers(0, 256, picture.shape, np.uint8)
    for other in (np.zeros_like(picture), np.full_like(picture, 255), noise):
        assert network.measure(other, face, Stopwatch()) is None
    assert network.measure(picture, Detection(Box(9, 9, 0, 0), EYES, 1.0), Stopwatch()) is None
