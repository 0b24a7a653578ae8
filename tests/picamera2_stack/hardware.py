"""Controls the stub of libcamera: writes the script of the hardware and reads its log."""

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).resolve().parent / "stub"


def _path_from(variable: str) -> Path | None:
    return (ROOT / os.environ[variable]).resolve() if os.environ.get(variable) else None


STACK = _path_from("AFFECT_EDGE_PICAMERA2")
TOO_OLD = _path_from("AFFECT_EDGE_PICAMERA2_TOO_OLD")
STALLS = int(os.environ.get("AFFECT_EDGE_STALLS", "5"))


class Hardware:
    """Writes the script of ``stub/libcamera``, and reads its log."""

    def __init__(self, path: Path, stack: Path | None = STACK) -> None:
        self._path = path
        # picamera2 0.3.21 is older than libcamera's marking of start-up frames
        self._settings: dict[str, Any] = {"hides_startup": str(stack).endswith("-0.3.21")}
        self.environment = {
            "STUB_LIBCAMERA": str(path),
            "PYTHONPATH": os.pathsep.join(map(str, (STUB, stack, ROOT))),
        }
        self.set()

    def set(self, **settings: Any) -> None:
        """Change the behaviour of the hardware, also in running processes."""
        self._settings |= settings
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._settings))
        new.replace(self._path)

    def log(self, what: str) -> list[dict[str, Any]]:
        """Return the log lines with this name written so far."""
        path = Path(f"{self._path}.log")
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]
