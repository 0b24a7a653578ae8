"""The baseline of ``benchmarks fps``: the earlier approach, one sequential loop in colour.

It runs CenterFace as published, except that its fixed dimensions become free (otherwise only 32x32
runs): weights listed as graph inputs, batch norms not folded, input of the frame's size rounded up
to 32, in colour, decoded by a loop over cells. Then it runs the float expression network on a crop.
Session options are the runtime's defaults, a thread for every core, unless threads are named.
"""

import hashlib
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Spent, Timer
from benchmarks.inference_alone import InferenceAlone
from edge.config import Config
from edge.errors import ConfigError
from edge.vision.inference import find_model, load_manifest, open_network
from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Frame, Luma

CALLS: Final = 2
"""Counted calls after one uncounted: in a loop, thread pools spin into the next call."""

PUBLISHED: Final = Path("models") / "centerface-published" / "centerface.onnx"
PUBLISHED_SHA256: Final = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
_ROOT: Final = Path(__file__).resolve().parents[1]
_STRIDE: Final = 4


class BaselineLoop:
    """Detects faces and predicts expressions in one loop, for one thread and one frame size.

    A session that changes sizes plans its memory again, which would make the earlier approach look
    slower than it was.
    """

    def __init__(
        self,
        expression_model: str,
        *,
        threshold: float,
        size: tuple[int, int] | None = None,
        threads: int | None = None,
    ) -> None:
        """Open both networks.

        Args:
            expression_model: name or folder of the expression network; its float artifact is run.
            threshold: lowest score of a face, 0..1.
            size: width and height of the detector's input; None for the frame's own, rounded up.
            threads: of each network; None for the runtime's default, one for every core.

        Raises:
            ConfigError: the published network, the onnx package, or a float ONNX artifact of the
                expression network is missing.
            ModelError: the expression network cannot be trusted.
        """
        self._network = open_network(
            expression_model, task="facial-expression", artifact=_float_artifact(expression_model)
        )
        self._network.manifest.require_outputs(["expression"])
        self._detector = _session(_published_with_free_size(), threads)
        self._expression = _session(
            (find_model(expression_model) / self._network.info.artifact).read_bytes(), threads
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


class TimedBaseline:
    """Times the baseline at its own input size and at ours."""

    def __init__(self, config: Config, size: tuple[int, int], *, threads: int | None) -> None:
        """Open the networks of both; see ``BaselineLoop`` for what is raised.

        Args:
            config: names the expression network and the threshold.
            size: width and height of our detector's input.
            threads: of each network; None for the runtime's default, one for every core.
        """
        self._size = size
        self._threads = threads
        model, threshold = config.expression.model, config.detector.threshold
        self._loops = (
            BaselineLoop(model, threshold=threshold, threads=threads),
            BaselineLoop(model, threshold=threshold, threads=threads, size=size),
        )
        self._spent: tuple[list[Spent], list[Spent]] = ([], [])

    def measure(self, frame: Frame, inference: InferenceAlone) -> None:
        """Time both loops on ``frame``; return when their thread pools are idle."""
        bgr = cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR)
        for loop, spent in zip(self._loops, self._spent, strict=True):
            loop.step(bgr)
            for _ in range(CALLS):
                timer = Timer()
                loop.step(bgr)
                spent.append(timer.spent())
            inference.wait_until_idle()

    def figures(self, frames: Sequence[Spent]) -> dict[str, Any]:
        """Return the comparison with the times of the pipeline's frames.

        ``ratio`` compares means, as a loop runs at its mean; ``ratio_of_medians`` and
        ``ratio_cpu`` (processor time) compare medians.
        """
        full, same = self._spent
        width, height = self._size
        threads = "a thread for every core"
        if self._threads is not None:
            threads = f"{self._threads} thread{'s'[: self._threads > 1]} each"
        return {
            "baseline_fps": 1e3 / statistics.fmean(each.wall_ms for each in full),
            "ratio": _mean_ms(full) / _mean_ms(frames),
            "same_size_ratio": _mean_ms(same) / _mean_ms(frames),
            "ratio_of_medians": _ratio_of_medians(full, frames, cpu=False),
            "ratio_cpu": _ratio_of_medians(full, frames, cpu=True),
            "same_size_ratio_cpu": _ratio_of_medians(same, frames, cpu=True),
            "baseline_threads": self._threads,
            "baseline_note": "the baseline's detector sees the full frame, ours"
            f" {width}x{height}, so the baseline finds smaller faces: ratio is not at equal"
            " capability; same_size_ratio gives both the same input. The baseline's networks"
            f" have {threads}; ours have the threads named below",
        }


def _mean_ms(spent: Sequence[Spent]) -> float:
    return statistics.fmean(each.wall_ms for each in spent)


def _ratio_of_medians(theirs: Sequence[Spent], ours: Sequence[Spent], *, cpu: bool) -> float:
    medians = [
        statistics.median(each.cpu_ms if cpu else each.wall_ms for each in side)
        for side in (theirs, ours)
    ]
    return medians[0] / medians[1]


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


def _session(content: bytes, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # it warns of every weight that is also an input
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _published_with_free_size() -> bytes:
    try:
        import onnx  # noqa: PLC0415
    except ImportError as error:
        hint = "needs the package onnx: install the extra bench (pip install '.[bench]')"
        raise ConfigError(f"--baseline: {hint}") from error
    model = onnx.load_from_string(_published())
    for value in (model.graph.input[0], *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis == 0:
                dimension.dim_value = 1
            elif axis > 1:
                dimension.dim_param = f"{value.name}_{axis}"
    return bytes(model.SerializeToString())


def _published() -> bytes:
    """Return the published network, from this checkout or from one that is the current folder."""
    for path in (_ROOT / PUBLISHED, PUBLISHED):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() == PUBLISHED_SHA256:
            return content
    raise ConfigError(
        f"--baseline: {PUBLISHED} is not here; expected the folder of the repository as the current"
        " one, as an installed copy does not have it"
    )
