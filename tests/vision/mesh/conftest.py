"""The bundled network, and a model of the face of the demo clip."""

import pytest

from benchmarks.evaluation.turned_faces import FaceModel
from edge.clock import Stopwatch
from edge.config import DemoSource, DetectorConfig, MeshConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.mesh import open_mesh
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.sources import open_source
from edge.vision.values import Frame, Luma, Mesh
from tests.support.frames import frame_of


@pytest.fixture(scope="session")
def network() -> FaceMeshNetwork:
    found = open_mesh(MeshConfig(enabled=True, artifact="mesh.tflite"))
    assert found is not None
    return found


@pytest.fixture(scope="session")
def detector() -> Detector:
    return open_detector(DetectorConfig(artifact="centerface.onnx"))


@pytest.fixture(scope="session")
def clip_frame() -> Frame:
    """The first frame of the demo clip."""
    with open_source(DemoSource(), small_size=(320, 192)) as source:
        frame = source.read()
    assert frame is not None
    return frame


class Measuring:
    """Measures the one face of a picture."""

    def __init__(self, detector: Detector, network: FaceMeshNetwork) -> None:
        self._detector, self._network = detector, network

    def __call__(self, luma: Luma) -> Mesh:
        face, *_ = self._detector.detect(frame_of(luma), Stopwatch())
        mesh = self._network.measure(luma, face, Stopwatch())
        assert mesh is not None
        return mesh


@pytest.fixture(scope="session")
def measure(detector: Detector, network: FaceMeshNetwork) -> Measuring:
    return Measuring(detector, network)


@pytest.fixture(scope="session")
def clip_mesh(measure: Measuring, clip_frame: Frame) -> Mesh:
    return measure(clip_frame.luma)


@pytest.fixture(scope="session")
def clip_face(clip_frame: Frame, clip_mesh: Mesh) -> FaceModel:
    return FaceModel(clip_frame.luma, clip_mesh.points)
