"""A pattern that is in every row of every picture, and a search for it in whatever is left."""

import base64
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.vision.values import Luma

PATTERN = bytes(random.Random(45).sample(range(16, 236), 64))
"""64 different grey values; as pixels they lie side by side."""

_NEEDLE = PATTERN[20:44]
"""What is searched: a part, so that a cut picture is found, too."""


def picture(face: Luma, number: int) -> Luma:
    """Return a picture whose left half repeats the pattern, and whose right half is a face."""
    height, width = face.shape
    texture = np.resize(np.frombuffer(PATTERN, np.uint8), (height, width // 64 * 64))
    texture = np.roll(texture, number, axis=1)
    made: Luma = np.hstack([texture, face])
    return made


def write_folder(folder: Path, face: Luma, count: int) -> Path:
    """Write ``count`` pictures as PNG files, which do not hold the pattern as such."""
    folder.mkdir()
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number}.png"), picture(face, number))
    return folder


def _needles() -> dict[str, bytes]:
    found = {
        "raw": _NEEDLE,
        "reversed": _NEEDLE[::-1],
        "hex": _NEEDLE.hex().encode(),
        "HEX": _NEEDLE.hex().upper().encode(),
        "numbers": ",".join(map(str, _NEEDLE)).encode(),
        "numbers with spaces": ", ".join(map(str, _NEEDLE)).encode(),
        "colour": b"".join(bytes([value] * 3) for value in _NEEDLE),
        "16 bits": b"".join(bytes([0, value]) for value in _NEEDLE),
        "floats": np.frombuffer(_NEEDLE, np.uint8).astype("<f4").tobytes(),
    }
    for shift in range(3):  # in base64 the same bytes look different at each third place
        text = base64.b64encode(bytes(shift) + _NEEDLE).decode()
        first = (8 * shift + 5) // 6
        last = len(_NEEDLE + bytes(shift)) * 8 // 6
        found[f"base64, place {shift}"] = text[first:last].encode()
    return found


NEEDLES = _needles()
"""Form -> bytes that pixels in this form contain."""


def forms_in(content: bytes) -> list[str]:
    """Return the forms in which the pattern is in ``content``."""
    return [form for form, needle in NEEDLES.items() if needle in content]


def hits(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the files below ``folder`` that hold the pattern, with its forms."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            forms = forms_in(path.read_bytes())
            if forms:
                yield path, forms


def is_in_memory(pid: int) -> bool:
    """Return whether the pattern is in the memory of a process. Needs root."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            first, last = (int(end, 16) for end in span.split("-"))
            for start in range(first, last, 16 << 20):
                try:
                    memory.seek(start)
                    content = memory.read(min((16 << 20) + len(_NEEDLE), last - start))
                except (OSError, OverflowError):
                    break
                if _NEEDLE in content:
                    return True
    return False
