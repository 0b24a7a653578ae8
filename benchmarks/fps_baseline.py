"""The baseline of ``benchmarks fps``: the earlier approach, one sequential loop in colour.

It runs CenterFace as published, except that its fixed dimensions become free (otherwise only 32x32
runs): weights listed as graph inputs, batch norms not folded, input of the frame's size rounded up
to 32, in colour, decoded by a loop over cells. Then it runs the float expression network on a crop.
Session options are the runtime's defaults: a thread for every core.
"""

import math
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from edge.vision.inference import find_model, load_manifest, open_network
from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Luma

PUBLISHED: Final = (
    Path(__file__).resolve().parents[1] / "models" / "centerface-published" / "centerface.onnx"
)
_STRIDE: Final = 4


class BaselineLoop:
    """Detects faces and predicts expressions in one loop, for one thread and one frame size.

    A session that changes sizes plans its memory again, which would make the earlier approach look
    slower than it was.
    """

    def __init__(
        self, expression_model: str, *, threshold: float, size: tuple[int, int] | None = None
    ) -> None:
        """Open both networks.

        Args:
            expression_model: name or folder of the expression network; its float artifact is run.
            threshold: lowest score of a face, 0..1.
            size: width and height of the detector's input; None for the frame's own, rounded up.

        Raises:
            ConfigError: the published network, the onnx package, or a float ONNX artifact of the
                expression network is missing.
            ModelError: the expression network cannot be trusted.
        """
        self._network = open_network(
            expression_model, task="facial-expression", artifact=_float_artifact(expression_model)
        )
        self._network.manifest.require_outputs(["expression"])
        self._detector = _default_session(_published_with_free_size())
        self._expression = _default_session(
            (find_model(expression_model) / self._network.info.artifact).read_bytes()
        )
        self._threshold = threshold
        self._size = size

    def step(self, bgr: NDArray[np.uint8]) -> list[str]:
        """Return the label of each face in a colour frame."""
        height, width = bgr.shape[:2]
        size = self._size or (math.ceil(width / 32) * 32, math.ceil(height / 32) * 32)
        # resized as earlier systems did
        blob = cv2.dnn.blobFromImage(  # noqa: TID251
            bgr, 1.0, size, (0, 0, 0), swapRB=True, crop=False
        )
        heat, scale, offset, _ = self._detector.run(None, {"input.1": blob})
        boxes = self._boxes(heat[0, 0], scale[0], offset[0], width / size[0], height / size[1])
        return [self._predict(bgr, box) for box in boxes]

    def _boxes(
        self, heat: Any, scale: Any, offset: Any, ratio_x: float, ratio_y: float
    ) -> list[tuple[float, float, float, float]]:
        rows, columns = np.where(heat > self._threshold)
        found = []
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            box_height = math.exp(scale[0, row, column]) * _STRIDE
            box_width = math.exp(scale[1, row, column]) * _STRIDE
            x = (column + offset[1, row, column] + 0.5) * _STRIDE - box_width / 2
            y = (row + offset[0, row, column] + 0.5) * _STRIDE - box_height / 2
            found.append((float(heat[row, column]), (x, y, x + box_width, y + box_height)))
        kept: list[tuple[float, float, float, float]] = []
        for _, box in sorted(found, key=lambda each: -each[0]):
            if all(_overlap(box, other) <= 0.3 for other in kept):
                kept.append(box)
        return [(x * ratio_x, y * ratio_y, r * ratio_x, b * ratio_y) for x, y, r, b in kept]

    def _predict(self, bgr: NDArray[np.uint8], box: tuple[float, float, float, float]) -> str:
        x, y, right, bottom = (max(0, round(value)) for value in box)
        inside = bgr[y : max(bottom, y + 1), x : max(right, x + 1)]
        if not inside.size:
            return "outside"
        crop: Luma = cv2.cvtColor(inside, cv2.COLOR_BGR2GRAY)
        size = (self._network.info.width, self._network.info.height)
        face = cv2.resize(crop, size)  # noqa: TID251
        manifest = self._network.manifest
        (scores,) = self._expression.run(
            [manifest.outputs["expression"].tensor],
            {manifest.input.name: self._network.tensor(face)},
        )
        return manifest.labels[int(scores[0].argmax())]


def _overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return across * down / (sum(areas) - across * down)


def _float_artifact(model: str) -> str:
    for artifact in load_manifest(find_model(model)).artifacts:
        if artifact.runtime == "onnxruntime" and artifact.precision == "fp32":
            return artifact.file
    raise ConfigError(f"--baseline: model {model!r} has no fp32 artifact for onnxruntime")


def _default_session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every weight that is also an input
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _published_with_free_size() -> bytes:
    try:
        import onnx  # noqa: PLC0415
    except ImportError as error:
        hint = "needs the onnx package; run `make bench` in a checkout"
        raise ConfigError(f"--baseline: {hint}") from error
    if not PUBLISHED.is_file():
        raise ConfigError(f"--baseline: {PUBLISHED} is missing; run `make bench` in a checkout")
    model = onnx.load(PUBLISHED)
    for value in (model.graph.input[0], *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis == 0:
                dimension.dim_value = 1
            elif axis > 1:
                dimension.dim_param = f"{value.name}_{axis}"
    return bytes(model.SerializeToString())
