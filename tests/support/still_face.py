"""A source that shows one face, longer than any test takes."""

from pathlib import Path

from edge.vision.golden import GOLDEN_FACE
from tests.support.daemons import PURPOSE

RATE_HZ = 10


def still_face(folder: Path, *, seconds: int = 300) -> tuple[str, ...]:
    """Make ``folder``; return the arguments of a daemon that shows the golden face from it."""
    folder.mkdir()
    for index in range(RATE_HZ * seconds):
        (folder / f"{index:04}.png").symlink_to(GOLDEN_FACE)
    return ("--source", str(folder), "--set", f"source.rate_hz={RATE_HZ}", *PURPOSE)
