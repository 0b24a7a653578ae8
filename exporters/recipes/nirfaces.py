"""Annotated near-infrared photographs as patches and crops, cut with the daemon's detector."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from benchmarks.evaluation.annotated import annotated_faces, read_labels, shifted
from edge.clock import Stopwatch
from edge.config import DetectorConfig, MeshConfig
from edge.errors import ConfigError
from edge.vision.detect import open_detector
from edge.vision.expression.crop import square_crop
from edge.vision.mesh import open_mesh
from edge.vision.mesh.names import COEFFICIENTS
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.values import Box, Detection, Floats, Luma
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.networks import SIDE

PATCH_MARGIN: Final = 0.6
"""Margin of a patch around the face box, for rotation, shift and scale without an empty border."""

SHIFTS: Final = tuple(
    (x, y, scale)
    for scale, step in ((1.0, 0.03), (0.95, 0.02), (1.05, 0.02))
    for x, y in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step))
)
"""Jittered boxes: shift right, shift down (shares of the detected box's longer side) and scale.

They cover the differences between frames of the same face. With the face moved by up to 5 % and
other sensor noise, the bundled detector's box had these standard deviations (412 boxes):

| horizontal | vertical | size |
|---|---|---|
| 1.3 % | 2.0 % | 2.7 % |
"""


@dataclass(frozen=True)
class NirFaces:
    """All annotated photographs.

    Attributes:
        patches: float32 (n, 1, 2 * side, 2 * side), 0..1: square crops with ``PATCH_MARGIN``.
        crops: float32 (n, 1, side, side), 0..1: the daemon's crops.
        jittered: float32 (``len(SHIFTS)``, n, 1, side, side): crops of jittered boxes.
        labels: int64 (n,), indices into ``EXPRESSIONS``.
        affect: float32 (n, 2), valence and arousal.
        subjects: the person on each.
        glasses: whether the person wears glasses on each; None: not labelled.
        coefficients: float32 (1 + ``len(SHIFTS)``, n, 52), of the face mesh, as detected and
            jittered; NaN for photographs without a mesh. None: not measured.
    """

    patches: Tensor
    crops: Tensor
    jittered: Tensor
    labels: Tensor
    affect: Tensor
    subjects: tuple[str, ...]
    glasses: tuple[bool | None, ...]
    coefficients: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def indices_of(self, people: set[str]) -> Tensor:
        """Return the indices of the photographs that show ``people``."""
        return torch.tensor([i for i, name in enumerate(self.subjects) if name in people])

    def part(self, at: Tensor) -> "NirFaces":
        """Return the photographs with the indices ``at``."""
        places = at.tolist()
        return NirFaces(
            self.patches[at], self.crops[at], self.jittered[:, at], self.labels[at],
            self.affect[at], tuple(self.subjects[place] for place in places),
            tuple(self.glasses[place] for place in places),
            None if self.coefficients is None else self.coefficients[:, at],
        )  # fmt: skip


def load_nir_faces(
    images: Path, labels: Path, margin: float, side: int = SIDE, *, mesh: bool = False
) -> NirFaces:
    """Return the photographs that ``labels`` (see ``benchmarks accuracy``) lists.

    ``margin`` and ``side``, pixels, are those of the network's crops. With ``mesh`` the face mesh's
    coefficients are measured, too.

    Raises:
        ConfigError: the labels or a photograph cannot be read, or a photograph has no face.
    """
    # a fixed artifact: auto's choice, and so the crops, would differ between boards
    detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
    rows = read_labels(labels)
    # fixed for the same reason
    network = open_mesh(MeshConfig(enabled=mesh, artifact="mesh.onnx"))
    coefficients: list[Floats] = []
    patches, crops = [], []
    jittered: list[list[Luma]] = [[] for _ in SHIFTS]
    for row, luma, face in annotated_faces(images, rows, detector):
        if face is None:
            raise ConfigError(
                f"--images {images / row.file}: no face found; take it off the labels"
            )
        patches.append(square_crop(luma, face.box, (2 * side, 2 * side), PATCH_MARGIN))
        crops.append(square_crop(luma, face.box, (side, side), margin))
        longer = max(face.box.width, face.box.height)
        boxes = [shifted(face.box, x * longer, y * longer, scale) for x, y, scale in SHIFTS]
        for kept, box in zip(jittered, boxes, strict=True):
            kept.append(square_crop(luma, box, (side, side), margin))
        if network is not None:
            coefficients.append(_coefficients(network, luma, face, boxes))
    return NirFaces(
        _tensor(patches),
        _tensor(crops),
        torch.stack([_tensor(kept) for kept in jittered]),
        torch.tensor([EXPRESSIONS.index(row.expression) for row in rows]),
        torch.tensor([[row.valence, row.arousal] for row in rows]),
        tuple(row.subject for row in rows),
        tuple(row.glasses for row in rows),
        torch.from_numpy(np.stack(coefficients, axis=1)) if coefficients else None,
    )


def _coefficients(
    network: FaceMeshNetwork, luma: Luma, face: Detection, boxes: list[Box]
) -> Floats:
    """Return the coefficients of a face as detected and in jittered boxes; NaN without a mesh."""
    faces = [face]
    for box in boxes:
        moved = face.predicted_at(box)
        across = box.x + box.width / 2 - (face.box.x + face.box.width / 2)
        down = box.y + box.height / 2 - (face.box.y + face.box.height / 2)
        marks = face.landmarks
        if marks is not None:  # a detector that errs by so much errs in its landmarks, too
            moved = replace(moved, landmarks=marks + np.array([across, down], np.float32))
        faces.append(moved)
    found = [network.measure(luma, each, Stopwatch()) for each in faces]
    if found[0] is None:
        return np.full((len(faces), len(COEFFICIENTS)), np.nan, np.float32)
    return np.stack([(each or found[0]).coefficients for each in found])


def _tensor(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)[:, None]


def random_crops(patches: Tensor, random: Generator, margin: float) -> Tensor:
    """Return one random crop of each patch, float32 (n, 1, side, side).

    Half of them are mirrored; rotated by up to 12 degrees, 12 % smaller to 15 % larger than the
    crop with ``margin``, shifted by up to 6 % of its side.
    """
    count, pixels = len(patches), patches.shape[-1] // 2

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=random)

    side = (1 + margin) / (1 + PATCH_MARGIN) * torch.exp(uniform(-0.13, 0.14))
    angle = uniform(-0.2, 0.2)
    mirror = 1 - 2 * (torch.rand(count, generator=random) < 0.5).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * side * mirror
    theta[:, 0, 1] = -torch.sin(angle) * side
    theta[:, 1, 0] = torch.sin(angle) * side * mirror
    theta[:, 1, 1] = torch.cos(angle) * side
    theta[:, :, 2] = torch.stack([uniform(-0.12, 0.12), uniform(-0.12, 0.12)], 1) * side[:, None]
    grid = nnf.affine_grid(theta, [count, 1, pixels, pixels], align_corners=False)
    return nnf.grid_sample(patches, grid, padding_mode="zeros", align_corners=False)
