"""Exports MTCNN, the three networks of the package facenet-pytorch, to a model folder.

The folder holds one artifact, the proposing network over the whole pyramid, and two stages. All are
ONNX in float and take one channel. Int8 is not built: the networks are small.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.detect import detector_for
from edge.vision.detect.mtcnn import FACE_MIN_PX, STAGES
from edge.vision.golden import golden_frame, golden_picture
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.inference.manifest import Manifest, Output, Parity, Source, Stage
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts import detectors, driver, graph
from exporters.artifacts.parity import measure, sample_pictures
from exporters.artifacts.tflite import convert_float
from exporters.artifacts.torch_file import load_tensors
from exporters.artifacts.write import describe
from exporters.fetch import PACKAGES
from exporters.mtcnn.network import FILES, INPUT, build_placing, build_proposing, build_refining

_ROLES: Final = {"refine": ("scores", "offsets"), "output": ("scores", "offsets", "landmarks")}
_FLOAT_LIMITS: Final = {
    "scores": 1e-4,
    "offsets": 1e-4,
    **{f"{stage}_{role}": 1e-4 for stage, roles in _ROLES.items() for role in roles},
}
"""Largest allowed errors, relative to the largest value (see ``artifacts.parity.measure``)."""

_CITATION: Final = (
    "K. Zhang, Z. Zhang, Z. Li, Y. Qiao: Joint Face Detection and Alignment using Multi-task"
    " Cascaded Convolutional Networks. IEEE Signal Processing Letters 23(10), 2016"
)
_LICENCE: Final = "MIT (facenet-pytorch 2.6.0, (c) 2019 Timothy Esler)"
_KNOWN_FILES: Final = {
    Path(inside).name: digest for inside, digest in PACKAGES["mtcnn"].files.items()
}
"""Files of facenet-pytorch 2.6.0 with their sha256."""


def export_mtcnn(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int],
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from MTCNN's three checkpoints; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: a folder with ``pnet.pt``, ``rnet.pt`` and ``onet.pt``.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, pixels.
        options: ONNX and fp32 only.

    Raises:
        ModelError: an option or a file is wrong, or one of the errors of ``driver.export``.
    """
    detectors.check_size(size, multiple=1)
    if list(options.formats) != ["onnx"] or list(options.precisions) != ["fp32"]:
        raise ModelError(
            f"--formats {','.join(options.formats)} --precisions {','.join(options.precisions)}:"
            " MTCNN is built as onnx in fp32 only"
        )
    return driver.export(out, _MtcnnCheckpoint(weights, size), options)


class _MtcnnCheckpoint:
    """The three checkpoints, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        self._size = size
        states, digests = {}, {}
        for name, file in FILES.items():
            states[name], digests[file] = load_tensors(
                weights / file, expected=f"a folder of {', '.join(_KNOWN_FILES)}"
            )
        builders: dict[str, Callable[..., Any]] = {
            "propose": lambda state, **more: build_proposing(state, size, **more),
            "refine": build_refining,
            "output": build_placing,
        }
        contents: dict[str, bytes] = {}
        self._originals: dict[str, OnnxSession] = {}
        for name, build in builders.items():
            with prefixed(f"--weights {weights / FILES[name]}"):
                contents[name] = graph.finish(build(states[name]))
                original = graph.finish(build(states[name], channels=3))
                self._originals[name] = OnnxSession(original, 1)
        self.content = contents["propose"]
        draft = driver.Draft(
            stem="mtcnn",
            float_limits=_FLOAT_LIMITS,
            task="face-detection",
            decoder="mtcnn",
            input=driver.picture_input(INPUT, size, mono=True, value_range=(0.0, 255.0)),
            outputs={role: Output(tensor=role) for role in ("scores", "offsets")},
            stages={name: _stage(name, contents[name]) for name in STAGES},
            stage_contents={f"{name}.onnx": contents[name] for name in STAGES},
            source=Source(
                file=", ".join(digests),
                sha256=hashlib.sha256("\n".join(digests.values()).encode()).hexdigest(),
                licence=_LICENCE if digests == _KNOWN_FILES else driver.UNKNOWN,
                citation=_CITATION,
            ),
            options={
                "size": f"{size[0]}x{size[1]}",
                "mono": True,
                "face_min_px": FACE_MIN_PX,
                **{f"{file}_sha256": digest for file, digest in digests.items()},
            },
            golden=detectors.UNKNOWN_GOLDEN,
        )
        self.draft = replace(draft, golden=self._golden(draft))

    def _golden(self, draft: driver.Draft) -> DetectionGolden:
        network = driver.run_graph(self.content, draft, "mtcnn")
        detector = detector_for(network, threshold=detectors.THRESHOLD, nms_iou=detectors.NMS_IOU)
        found = detector.detect(golden_frame(golden_picture()[0]), Stopwatch())
        return detectors.golden_of_faces(found, self._size, int8=False)

    def quantisation(self, reference: Network) -> driver.Quantisation:
        return driver.Quantisation()

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare the values of all three networks with those of three equal channels."""

        def original(name: str, picture: Luma) -> dict[str, Floats]:
            tensor = np.repeat(picture.astype(np.float32)[None, None], 3, axis=1)
            return self._originals[name].run(tensor)

        pairs = []
        for picture in sample_pictures(*self._size):
            known, found = original("propose", picture), network.run(picture[None])
            for name, side in STAGES.items():
                square = resize_linear(picture, (side, side))
                known |= {f"{name}_{key}": each for key, each in original(name, square).items()}
                outputs = network.stages[name].run(square[None])
                found |= {f"{name}_{key}": each for key, each in outputs.items()}
            pairs.append((known, found))
        return measure(pairs, _FLOAT_LIMITS)


def _stage(name: str, content: bytes) -> Stage:
    side = STAGES[name]
    return Stage(
        artifact=describe(f"{name}.onnx", content, runtime="onnxruntime", precision="fp32"),
        input=driver.picture_input(INPUT, (side, side), mono=True, value_range=(0.0, 255.0)),
        outputs={role: Output(tensor=role) for role in _ROLES[name]},
    )
