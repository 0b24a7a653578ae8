"""What the tests have in hand: the script of the hardware, and the log of what was done to it."""

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).resolve().parent / "stub"


def _named(variable: str) -> Path | None:
    return (ROOT / os.environ[variable]).resolve() if os.environ.get(variable) else None


STACK = _named("AFFECT_EDGE_PICAMERA2")
TOO_OLD = _named("AFFECT_EDGE_PICAMERA2_TOO_OLD")
STALLS = int(os.environ.get("AFFECT_EDGE_STALLS", "5"))


class Hardware:
    """Writes the script that the stub follows, and reads its log. See ``stub/libcamera``."""

    def __init__(self, path: Path, stack: Path | None = STACK) -> None:
        self._path = path
        # picamera2 0.3.21 is of the time before libcamera marked start-up frames
        self._settings: dict[str, Any] = {"hides_startup": str(stack).endswith("-0.3.21")}
        self.environment = {
            "STUB_LIBCAMERA": str(path),
            "PYTHONPATH": os.pathsep.join(map(str, (STUB, stack, ROOT))),
        }
        self.set()

    def set(self, **settings: Any) -> None:
        """Change what the hardware does, also in processes that run."""
        self._settings |= settings
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._settings))
        new.replace(self._path)

    def log(self, what: str) -> list[dict[str, Any]]:
        """Return what was done under that name so far."""
        path = Path(f"{self._path}.log")
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]
