"""All detectors, expression networks and translators, for the contract tests.

A new one is one more entry of ``DETECTORS``, ``EXPRESSION_NETWORKS`` or ``TRANSLATORS``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edge.clock import Stopwatch
from edge.config import DetectorConfig, ExpressionConfig, Section, TranslatorConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.translate import Translator, open_translator
from edge.vision.values import Box
from tests.support.detector_weights import cascade_folder, mtcnn_folder, yunet_folder
from tests.support.expression_networks import classifier_folder
from tests.support.frames import frame_of
from tests.support.generators import translator_folder

FACE = Box(123.1, 38.9, 151.0, 151.0)
"""A square around the face of the golden picture."""


@dataclass(frozen=True)
class NetworkCase(ABC):
    """One network.

    Class attributes: ``task``, as in manifests; ``section``, the class of its configuration;
    ``opener``, the function that opens the configured network.

    Attributes:
        name: shown by pytest.
        decoder: the name of its decoder in manifests.
        make_folder: returns its model folder; may write one below an empty folder.
        artifact: a file of that folder; ``auto`` would choose another one on other machines.
    """

    name: str
    decoder: str
    make_folder: Callable[[Path], Path]
    artifact: str

    task: ClassVar[str]
    section: ClassVar[type[Section]]
    opener: ClassVar[Callable[[Any], Any]]

    def open(self, folder: Path, **options: Any) -> Any:
        """Open the model in ``folder``; options of ``section``."""
        return self.opener(self.section(model=str(folder), artifact=self.artifact, **options))

    @abstractmethod
    def run(self, network: Any) -> object:
        """Run it once, on the golden face."""


@dataclass(frozen=True)
class DetectorCase(NetworkCase):
    """A detector that finds the golden face; ``has_landmarks``: whether it gives them."""

    has_landmarks: bool = True

    task = "face-detection"
    section = DetectorConfig
    opener = staticmethod(open_detector)

    def run(self, network: Detector) -> object:
        return network.detect(frame_of(golden_picture()[0]), Stopwatch())


class ExpressionCase(NetworkCase):
    """An expression network."""

    task = "facial-expression"
    section = ExpressionConfig
    opener = staticmethod(open_expression)

    def run(self, network: ExpressionNetwork) -> object:
        return network.predict(frame_of(golden_picture()[0]), FACE, Stopwatch())


class TranslatorCase(NetworkCase):
    """A translator with a golden answer: the bundled one, and small ones with random weights."""

    task = "spectrum-translation"
    section = TranslatorConfig
    opener = staticmethod(open_translator)

    def run(self, network: Translator) -> object:
        size = (network.info.width, network.info.height)
        return network.translate(square_crop(golden_picture()[0], FACE, size, 0.0))


def bundled(name: str) -> Callable[[Path], Path]:
    """Return a function that returns the folder of a bundled model."""
    return lambda _: find_model(name)


DETECTORS = (
    DetectorCase(
        "centerface-320x192", "centerface", bundled("centerface-320x192"), "centerface.onnx"
    ),
    DetectorCase(
        "centerface-640x384", "centerface", bundled("centerface-640x384"), "centerface.int8.onnx"
    ),
    DetectorCase(
        "retinaface-320x192", "retinaface", bundled("retinaface-320x192"), "retinaface.onnx"
    ),
    DetectorCase(
        "retinaface-int8", "retinaface", bundled("retinaface-320x192"), "retinaface.int8.tflite"
    ),
    DetectorCase("mtcnn", "mtcnn", mtcnn_folder, "mtcnn.onnx"),
    DetectorCase("yunet", "yunet", yunet_folder, "yunet.onnx"),
    DetectorCase("viola-jones", "viola-jones", cascade_folder, "cascade.xml", has_landmarks=False),
)
EXPRESSION_NETWORKS = (
    ExpressionCase("expression-nir", "mobilenet-fer", bundled("expression-nir"), "expression.onnx"),
    ExpressionCase(
        "expression-nir-int8", "mobilenet-fer", bundled("expression-nir"), "expression.int8.onnx"
    ),
    ExpressionCase("seven-classes", "classifier", classifier_folder, "expression.onnx"),
)
TRANSLATORS = (
    TranslatorCase("nir-to-visible", "cyclegan", bundled("nir-to-visible"), "generator.onnx"),
    TranslatorCase(
        "nir-to-visible-int8", "cyclegan", bundled("nir-to-visible"), "generator.int8.onnx"
    ),
    TranslatorCase(
        "nir-to-visible-lite", "cyclegan", bundled("nir-to-visible"), "generator.int8.tflite"
    ),
    TranslatorCase("cyclegan-grey-input", "cyclegan", translator_folder, "generator.onnx"),
    TranslatorCase(
        "cyclegan-rgb-input",
        "cyclegan",
        lambda folder: translator_folder(folder, mono=False),
        "generator.onnx",
    ),
)
