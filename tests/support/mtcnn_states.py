"""State dicts of MTCNN's three networks: published names and shapes, seeded random weights."""

from pathlib import Path

import numpy as np

from edge.vision.values import Floats
from tests.support.torch_files import checkpoint

_SHAPES = {
    "pnet.pt": {
        "conv1": (10, 3, 3, 3), "prelu1": (10,), "conv2": (16, 10, 3, 3), "prelu2": (16,),
        "conv3": (32, 16, 3, 3), "prelu3": (32,), "conv4_1": (2, 32, 1, 1),
        "conv4_2": (4, 32, 1, 1),
    },
    "rnet.pt": {
        "conv1": (28, 3, 3, 3), "prelu1": (28,), "conv2": (48, 28, 3, 3), "prelu2": (48,),
        "conv3": (64, 48, 2, 2), "prelu3": (64,), "dense4": (128, 576), "prelu4": (128,),
        "dense5_1": (2, 128), "dense5_2": (4, 128),
    },
    "onet.pt": {
        "conv1": (32, 3, 3, 3), "prelu1": (32,), "conv2": (64, 32, 3, 3), "prelu2": (64,),
        "conv3": (64, 64, 3, 3), "prelu3": (64,), "conv4": (128, 64, 2, 2), "prelu4": (128,),
        "dense5": (256, 1152), "prelu5": (256,), "dense6_1": (2, 256), "dense6_2": (4, 256),
        "dense6_3": (10, 256),
    },
}  # fmt: skip


def mtcnn_state(file: str, seed: int = 1) -> dict[str, Floats]:
    """Return the state dict of ``pnet.pt``, ``rnet.pt`` or ``onet.pt``."""
    random = np.random.default_rng(seed)
    state: dict[str, Floats] = {}
    for name, shape in _SHAPES[file].items():
        spread = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.25
        state[f"{name}.weight"] = random.normal(0, spread, shape).astype(np.float32)
        if not name.startswith("prelu"):
            state[f"{name}.bias"] = random.normal(0, 0.1, shape[0]).astype(np.float32)
    return state


def mtcnn_files(folder: Path) -> Path:
    """Write the three files into ``folder``; return it."""
    folder.mkdir()
    for file in _SHAPES:
        checkpoint(folder / file, mtcnn_state(file), zipped=file != "rnet.pt")
    return folder
