"""A source that lasts: a folder of small pictures, played at a steady rate."""

from pathlib import Path

import cv2
import numpy as np

from tests.support.daemons import PURPOSE


def small_pictures(folder: Path, *, seconds: float, rate_hz: float = 20.0) -> list[str]:
    """Write pictures of noise to ``folder``; return the arguments of a daemon that plays them."""
    folder.mkdir()
    random = np.random.default_rng(7)
    for index in range(int(seconds * rate_hz)):
        picture = random.integers(0, 256, (48, 64), np.uint8)
        cv2.imwrite(str(folder / f"{index:06}.png"), picture)
    rate = ["--set", f"source.rate_hz={rate_hz}"]
    return ["--source", str(folder), *rate, *PURPOSE]
