"""All detectors, expression networks and translators, for the contract tests.

A new one is one more entry of ``DETECTORS``, ``EXPRESSION_NETWORKS`` or ``TRANSLATORS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import Stopwatch
from edge.config import DetectorConfig, ExpressionConfig, TranslatorConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.translate import Translator, open_translator
from edge.vision.values import Box
from tests.support.frames import frame_of
from tests.support.generators import translator_folder

FACE = Box(123.1, 38.9, 151.0, 151.0)
"""A square around the face of the golden picture."""


@dataclass(frozen=True)
class NetworkCase:
    """One network.

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


class DetectorCase(NetworkCase):
    """A detector that finds the golden face."""

    task = "face-detection"

    def open(self, folder: Path, **options: Any) -> Detector:
        """Open the model in ``folder``; options of ``DetectorConfig``."""
        config = DetectorConfig(model=str(folder), artifact=self.artifact, **options)
        return open_detector(config)

    def run(self, network: Detector) -> object:
        """Run it once, on the golden face."""
        return network.detect(frame_of(golden_picture()[0]), Stopwatch())


class ExpressionCase(NetworkCase):
    """An expression network."""

    task = "facial-expression"

    def open(self, folder: Path, **options: Any) -> ExpressionNetwork:
        """Open the model in ``folder``; options of ``ExpressionConfig``."""
        config = ExpressionConfig(model=str(folder), artifact=self.artifact, **options)
        return open_expression(config)

    def run(self, network: ExpressionNetwork) -> object:
        """Run it once, on the golden face."""
        return network.predict(frame_of(golden_picture()[0]), FACE, Stopwatch())


class TranslatorCase(NetworkCase):
    """A translator with a golden answer. None is bundled: a small one with random weights."""

    task = "spectrum-translation"

    def open(self, folder: Path, **options: Any) -> Translator:
        """Open the model in ``folder``; options of ``TranslatorConfig``."""
        config = TranslatorConfig(model=str(folder), artifact=self.artifact, **options)
        translator = open_translator(config)
        assert translator is not None
        return translator

    def run(self, network: Translator) -> object:
        """Run it once, on the golden face."""
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
)
EXPRESSION_NETWORKS = (
    ExpressionCase("expression-nir", "mobilenet-fer", bundled("expression-nir"), "expression.onnx"),
    ExpressionCase(
        "expression-nir-int8", "mobilenet-fer", bundled("expression-nir"), "expression.int8.onnx"
    ),
)
TRANSLATORS = (
    TranslatorCase("cyclegan-grey-input", "cyclegan", translator_folder, "generator.onnx"),
    TranslatorCase(
        "cyclegan-rgb-input",
        "cyclegan",
        lambda folder: translator_folder(folder, mono=False),
        "generator.onnx",
    ),
)
