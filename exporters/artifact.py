"""Writes a model folder: artifacts first, the manifest last, all of it or nothing."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edge.errors import ModelError
from edge.models.manifest import Artifact, Limit, Manifest, Parity


def describe(
    file: str,
    content: bytes,
    *,
    runtime: Literal["onnxruntime", "litert"],
    precision: Literal["fp32", "fp16", "int8"],
) -> Artifact:
    """Return the manifest's entry for an artifact."""
    return Artifact(
        file=file,
        runtime=runtime,
        precision=precision,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )


def unmeasured(limits: Mapping[str, float]) -> Parity:
    """Return the parity of an artifact that was not compared yet: as bad as can be, not passed."""
    return Parity(
        metrics={f"{role}_max_error": sys.float_info.max for role in limits},
        limits={f"{role}_max_error": Limit(at_most=limit) for role, limit in limits.items()},
        samples=1,
        passed=False,
    )


def write_model(out: Path, manifest: Manifest, contents: dict[str, bytes]) -> None:
    """Write ``contents`` (file name -> bytes) and the manifest into ``out``.

    The same input gives the same bytes. Files that the folder also holds (its README) stay. When
    writing fails, what was there before is untouched; when it is cut off between two renames,
    the hashes disagree and the daemon refuses the folder.

    Raises:
        ModelError: the folder cannot be written.
    """
    text = manifest.model_dump_json(indent=2, exclude_none=True) + "\n"
    files = {**contents, "manifest.json": text.encode()}
    new_folder = not out.exists()
    staging: Path | None = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=out))
        for name, content in files.items():
            with (staging / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (staging / name).replace(out / name)
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"--out {out}: {reason}; the export was not completed") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if new_folder and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
