"""Small synthetic training sets that a network learns in seconds."""

from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
           "unknown", "NF"]  # fmt: skip


def ferplus_file(path: Path, *, count: int = 240, **replaced: Any) -> Path:
    """Write an archive like FER+: a bright bar in each picture stands at the place of its label."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 4, count)
    images = random.integers(60, 90, (count, 48, 48)).astype(np.uint8)
    votes = np.zeros((count, 10), np.uint8)
    for index, label in enumerate(labels):
        images[index, 6 + 10 * label : 12 + 10 * label] += 120
        votes[index, label], votes[index, (label + 1) % 4], votes[index, 8] = 8, 1, 1
    content = {"images": images, "votes": votes, "columns": np.array(COLUMNS),
               "split": np.arange(count) % 3} | replaced  # fmt: skip
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def landmark_file(path: Path, images: Any, **replaced: Any) -> Path:
    """Write landmarks of ``images``: one face at random places and sizes."""
    from exporters.recipes.landmarks import MIRRORED, POINTS, digest

    random = np.random.default_rng(6)
    half = random.normal(0, 0.2, (len(POINTS), 2))
    face = (half + half[list(MIRRORED)] * [-1, 1]) / 2  # symmetric
    places = face * random.uniform(0.7, 1, (len(images), 1, 1))
    places += random.normal(0, 0.02, places.shape) + random.uniform(-0.1, 0.1, (len(images), 1, 2))
    plain, mirror = np.full((2, len(images), 478, 2), 9.0, np.float16)
    plain[:, list(POINTS)] = places
    mirror[:, list(POINTS)] = places[:, list(MIRRORED)] * [-1, 1]
    content = {"plain": plain, "mirror": mirror, "of": np.array(digest(images))} | replaced
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def synthetic_photographs(participants: int = 4) -> Any:
    """Return photographs of a few participants; the label determines the width of the stripes."""
    import torch

    from exporters.recipes.nirfaces import NirFaces

    random = torch.Generator().manual_seed(8)
    count = 8 * participants
    labels = torch.arange(count) % 4
    patches = 0.3 + 0.05 * torch.rand(count, 1, 96, 96, generator=random)
    for index, label in enumerate(labels.tolist()):
        wave = torch.sin(torch.arange(96) * 2 * torch.pi / (6, 12, 24, 48)[label])
        patches[index] += 0.3 * (wave > 0).float()[None, :, None]
    points = torch.tensor([[0.0, 0.0], [0.8, 0.2], [-0.7, -0.4], [0.3, 0.8]])
    jittered = torch.stack([patches[:, :, 24:72, at : at + 48] for at in (22, 23, 26)])
    return NirFaces(
        patches, patches[:, :, 24:72, 24:72].clone(), jittered, labels, points[labels],
        tuple(str(index // 8) for index in range(count)), (None,) * count,
    )  # fmt: skip
