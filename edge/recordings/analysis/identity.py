"""What identifies an analysis: the bytes of the recording, the settings, and the networks."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edge import __version__
from edge.config import Config
from edge.config.recorded import recorded_config
from edge.errors import ConfigError
from edge.protocol.events import ModelReference
from edge.recordings.analysis.inputs import Kind
from edge.recordings.settings import Selection
from edge.vision.sources.images import list_pictures

_SECTIONS: Final = (
    "device", "source", "detector", "translator", "expression", "mesh", "tracking", "zones",
    "quality", "affect",
)  # fmt: skip
"""What the results depend on; the rest of the configuration concerns the daemon."""

_NOT_SOURCE: Final = ("path", "paced", "repeat")
_CHUNK_BYTES: Final = 1 << 22
_NAMESPACE: Final = uuid.UUID("6f6a1e1c-6d0a-5b0e-9f0e-0c3a6f3f6a52")


def sha256_of(path: Path, kind: Kind, on_bytes: Callable[[int], None] = lambda _count: None) -> str:
    """Return the SHA-256 of a recording, in hexadecimal.

    That of a folder of pictures covers names and contents, in their order: it is the hash of the
    lines ``SHA256  NAME`` of its pictures. One that cannot be read has ``-`` there; it is left out
    and counted, as one that cannot be decoded.

    Args:
        path: of the file or folder.
        kind: which of them it is.
        on_bytes: takes the number of bytes of each part that was read.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        if kind == "video":
            return file_sha256(path, on_bytes)
        total = hashlib.sha256()
        for picture in list_pictures(str(path))[0]:
            try:
                digest = file_sha256(picture, on_bytes)
            except OSError:
                digest = "-"
            line = f"{digest}  {picture.name}\n"
            total.update(line.encode("utf-8", "surrogateescape"))
        return total.hexdigest()
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}") from error


def analysis_settings(config: Config, selection: Selection) -> dict[str, Any]:
    """Return all settings on which results depend, without the networks.

    Args:
        config: of one recording, with the names of the artifacts.
        selection: the pictures that are analysed.
    """
    recorded = recorded_config(config)
    sections = {name: recorded[name] for name in _SECTIONS}
    source = {key: value for key, value in sections["source"].items() if key not in _NOT_SOURCE}
    return {
        "version": __version__,
        "start_s": selection.start_s,
        "end_s": selection.end_s,
        "every": selection.every,
        **sections,
        "source": source,
    }


def settings_sha256(settings: Mapping[str, Any], models: Mapping[str, ModelReference]) -> str:
    """Return the hash of ``analysis_settings`` and of the networks."""
    networks = {role: model.model_dump(mode="json") for role, model in models.items()}
    text = json.dumps([settings, networks], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def stream_of(recording_sha256: str, settings_hash: str) -> str:
    """Return the UUID of the stream of an analysis: the same for each repetition of it."""
    return str(uuid.uuid5(_NAMESPACE, f"{recording_sha256} {settings_hash}"))


def file_sha256(path: Path, on_bytes: Callable[[int], None] = lambda _count: None) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while content := file.read(_CHUNK_BYTES):
            digest.update(content)
            on_bytes(len(content))
    return digest.hexdigest()
