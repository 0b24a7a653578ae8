"""Finds model folders, loads their manifests, and reads artifacts with a verified hash.

An artifact is read once, from a plain file. The bytes that are hashed are the bytes that run.
"""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

import edge
from edge.errors import ModelError
from edge.validation import first_error, mistaken_content
from edge.vision.inference.manifest import Artifact, Manifest
from edge.vision.inference.onnx_wire import has_external_data

_MANIFEST_BYTES_MAX = 1 << 20
_READABLE = "expected a folder that this user can read and search"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with a model, in one line: ``subject`` names the model (and file)."""

    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One artifact of one model, for tables."""

    model: str
    task: str
    artifact: str
    runtime: str
    precision: str
    size_bytes: int
    sha256: str
    parity: str
    folder: Path


def model_roots() -> tuple[Path, ...]:
    """Return the folders of bundled models: that of the repository or of the installed wheel."""
    parent = Path(edge.__file__).resolve().parents[1]
    roots = (parent / "models", parent / "affect_edge_models")
    return tuple(root for root in roots if os.path.isdir(root))


def bundled_models() -> list[Path]:
    """Return the folders of all bundled models, sorted by name."""
    found = {path.parent.name: path.parent for root in reversed(model_roots())
             for path in root.glob("*/manifest.json")}  # fmt: skip
    return [found[name] for name in sorted(found)]


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a model: a bundled NAME first, else a folder at that path.

    Raises:
        ModelError: there is neither, or this user has no permission; one line.
    """
    text = os.fspath(name_or_path)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        for root in model_roots():
            if os.path.isfile(root / text / "manifest.json"):  # False also if the name is too long
                return root / text
    try:
        if stat.S_ISDIR(os.stat(text).st_mode):
            os.stat(os.path.join(text, "manifest.json"))
            return Path(text)
    except PermissionError as error:
        raise ModelError(f"model {text[:300]!r}: {error.strerror}; {_READABLE}") from error
    except (OSError, ValueError):
        if os.path.isdir(text):
            return Path(text)  # without a manifest: loading it reports that
    known = ", ".join(folder.name for folder in bundled_models()) or "none"
    raise ModelError(
        f"model {text[:80]!r}: no such folder, and no bundled model of that name; bundled: {known}"
    )


def load_manifest(folder: Path) -> Manifest:
    """Return the manifest in ``folder``.

    Raises:
        ModelError: it is missing or invalid; one line.
    """
    return load_hashed_manifest(folder)[0]


def load_hashed_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest in ``folder``, and the SHA-256 of its file.

    Raises:
        ModelError: as ``load_manifest``.
    """
    path = folder / "manifest.json"
    raw = _read_plain_file(path, _MANIFEST_BYTES_MAX)
    try:
        return Manifest.model_validate_json(raw), hashlib.sha256(raw).hexdigest()
    except ValidationError as error:
        if kind := mistaken_content(raw):
            raise ModelError(f"{path}: {kind}") from error
        raise ModelError(f"{path}: {first_error(error)}; export the model again") from error


def read_artifact(folder: Path, artifact: Artifact) -> bytes:
    """Return the bytes of ``artifact``, verified against the manifest's hash.

    Raises:
        ModelError: missing, a link, of another size or hash, or not a self-contained model file.
    """
    path = folder / artifact.file
    content = _read_plain_file(path, artifact.bytes)
    if len(content) != artifact.bytes and (kind := mistaken_content(content)):
        raise ModelError(f"{path}: {kind}")
    if len(content) != artifact.bytes:
        raise ModelError(
            f"{path}: {len(content)} bytes, the manifest says {artifact.bytes};"
            " copy the model again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != artifact.sha256:
        raise ModelError(
            f"{path}: sha256 {digest}, the manifest says {artifact.sha256}; copy the model again"
        )
    if artifact.runtime == "onnxruntime":
        try:
            external = has_external_data(content)
        except ValueError as error:
            raise ModelError(f"{path}: not an ONNX model: {error}; export it again") from error
        if external:
            raise ModelError(
                f"{path}: has weights in another file (external data), which no hash covers;"
                " export it as one file"
            )
    elif artifact.runtime == "litert" and content[4:8] != b"TFL3":
        raise ModelError(f"{path}: not a TensorFlow Lite model; export it again")
    return content


def verify(folder: Path) -> list[Finding]:
    """Return the problems of the model in ``folder``: manifest, hashes, parity. Loads no runtime.

    An empty list means that every artifact matches its manifest, and that at least one may be run.
    An artifact that failed parity next to others that passed is no problem: it is kept on purpose,
    and cannot be chosen.
    """
    try:
        manifest = load_manifest(folder)
    except ModelError as error:
        return [Finding(folder.name, str(error))]
    findings = []
    runnable = any(parity.passed for parity in manifest.parity.values())
    for artifact in (*manifest.artifacts, *_further(manifest)):
        try:
            read_artifact(folder, artifact)
        except ModelError as error:
            findings.append(Finding(manifest.name, str(error)))
        if not runnable:
            findings.append(Finding(f"{manifest.name}/{artifact.file}", PARITY_FAILED))
    return findings


def model_rows(folder: Path) -> list[ModelRow]:
    """Return one row for each artifact of the model in ``folder``, and for each further network.

    Raises:
        ModelError: the manifest cannot be read.
    """
    manifest = load_manifest(folder)
    return [
        ModelRow(
            model=manifest.name,
            task=manifest.task,
            artifact=artifact.file,
            runtime=artifact.runtime,
            precision=artifact.precision,
            size_bytes=artifact.bytes,
            sha256=artifact.sha256,
            parity=_parity_text(manifest, artifact),
            folder=folder,
        )
        for artifact in (*manifest.artifacts, *_further(manifest))
    ]


def _further(manifest: Manifest) -> list[Artifact]:
    """Return the artifacts of a cascade's further networks."""
    return [stage.artifact for stage in (manifest.stages or {}).values()]


PARITY_FAILED = "did not agree with the original network at export (parity failed); export it again"


def _parity_text(manifest: Manifest, artifact: Artifact) -> str:
    parity = manifest.parity.get(artifact.file)
    if parity is None:
        return f"as {manifest.artifacts[0].file}, which runs it on squares of the picture"
    figures = ", ".join(f"{name} {value:.3g}" for name, value in parity.metrics.items())
    return f"{'passed' if parity.passed else 'FAILED'} ({figures}; {parity.samples} samples)"


def _read_plain_file(path: Path, bytes_max: int) -> bytes:
    """Return the content of a regular file, at most one byte more than ``bytes_max``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "a symbolic link" if os.path.islink(path) else error.strerror
        raise ModelError(f"{path}: {reason}; expected a plain file") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ModelError(f"{path}: not a plain file; copy the model again")
        if state.st_size > bytes_max:
            raise ModelError(
                f"{path}: {state.st_size} bytes, expected at most {bytes_max}; copy the model again"
            )
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; copy the model again") from error
    finally:
        os.close(descriptor)
