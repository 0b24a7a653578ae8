"""What is recorded of a run: its networks, and the file that it reads."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from edge import clock
from edge.config import Config, DemoSource, ImagesSource, SourceConfig, VideoSource
from edge.protocol.events import FileHashed, FileOpened, RecordedBy
from edge.vision.inference.folders import find_model, load_hashed_manifest
from edge.vision.pipeline import Pipeline
from edge.vision.sources.container import recording_of
from edge.vision.sources.video import DEMO_CLIP

HASHED_AT_ONCE_BYTES: Final = 16 << 20
"""Up to here a file is hashed before its first frame: 0.2 s on a Pi 4 with the file in memory, a
second from a card."""

_CHUNK_BYTES: Final = 1 << 20


class StopEvent(Protocol):
    """The part of ``threading.Event`` that hashing needs."""

    def is_set(self) -> bool:
        """Return whether the worker is to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the stop is requested, ``timeout`` seconds at most."""


ModelFields = dict[str, dict[str, str | int]]
"""The fields of ``ModelReference`` of each network, by role."""


def model_references(config: Config, pipeline: Pipeline) -> ModelFields:
    """Return what is recorded of each loaded network."""
    references: ModelFields = {}
    for role, model, network in (
        ("detector", config.detector.model, pipeline.detector),
        ("region_detector", config.detector.region.model, pipeline.region_detector),
        ("translator", config.translator.model, pipeline.translator),
        ("expression", config.expression.model, pipeline.expression),
        ("mesh", config.mesh.model, pipeline.mesh),
    ):
        if network is not None:
            info = network.info
            _, manifest_sha256 = load_hashed_manifest(find_model(model))
            references[role] = {
                "name": info.name,
                "sha256": info.sha256,
                "artifact": info.artifact,
                "runtime": info.runtime,
                "precision": info.precision,
                "threads": info.threads,
                "manifest_sha256": manifest_sha256,
            }
    return references


def file_path(source: SourceConfig) -> str | None:
    """Return the path of the one file that the source reads; None for other sources."""
    if isinstance(source, DemoSource):
        return str(DEMO_CLIP)
    return source.path if isinstance(source, VideoSource) else None


def file_opened(source: SourceConfig, path: str) -> FileOpened:
    """Describe the file that was opened; its hash is null for a large one, or where it fails."""
    sha256 = None
    size = 0
    try:
        size = os.path.getsize(path)
        if size <= HASHED_AT_ONCE_BYTES:
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        pass  # the decoder reports a file that cannot be read any more
    return describe_file(source, path, size=size, sha256=sha256)


def describe_file(source: SourceConfig, path: str, *, size: int, sha256: str | None) -> FileOpened:
    """Describe a recording by its container and the configuration.

    Args:
        source: says when it was made, if the container is not to say it.
        path: of a file, or of a folder of pictures, which has no container.
        size: bytes.
        sha256: of the content, hexadecimal; None if it is not known.
    """
    recording = recording_of(path)
    recorded_unix_ns = recording.created_unix_ns
    recorded_by: RecordedBy = "none" if recorded_unix_ns is None else "container"
    if isinstance(source, VideoSource | ImagesSource) and source.recorded_at is not None:
        recorded_unix_ns, recorded_by = clock.unix_ns_of(source.recorded_at), "option"
    return FileOpened(
        file=os.path.basename(path),
        bytes=size,
        sha256=sha256,
        duration_s=recording.duration_s,
        recorded_unix_ns=recorded_unix_ns,
        recorded_by=recorded_by,
    )


def needs_hash(path: str) -> bool:
    """Return whether the file is too large to be hashed before its first frame."""
    try:
        return os.path.getsize(path) > HASHED_AT_ONCE_BYTES
    except OSError:
        return False


def file_hashed(path: str, stop: StopEvent, hurry: Callable[[], bool]) -> FileHashed:
    """Hash a large file; it takes half of a core and of the disk until ``hurry`` is true.

    ``stop`` ends it early.
    """
    sha256, reason = None, ""
    try:
        with open(path, "rb", buffering=0) as file:
            sha256 = _sha256(file, stop, hurry)
        reason = "" if sha256 else "the run was stopped before the whole file was read"
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
    return FileHashed(file=Path(path).name, sha256=sha256, reason=reason)


def _sha256(file: BinaryIO, stop: StopEvent, hurry: Callable[[], bool]) -> str | None:
    digest = hashlib.sha256()
    began_ns = clock.monotonic_ns()
    while content := file.read(_CHUNK_BYTES):
        digest.update(content)
        if stop.is_set():
            return None
        if not hurry():
            stop.wait(clock.elapsed_ms(began_ns) / 1e3)
        began_ns = clock.monotonic_ns()
    return digest.hexdigest()
