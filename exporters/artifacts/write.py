"""Writes a model folder: artifacts first, the manifest last, all of it or nothing."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.errors import ModelError
from edge.vision.inference import Finding, Network
from edge.vision.inference.manifest import (
    Artifact,
    Dtype,
    Layout,
    Limit,
    Manifest,
    Parity,
    Precision,
    Runtime,
)
from edge.vision.inference.runtimes import open_session


def describe(
    file: str,
    content: bytes,
    *,
    runtime: Runtime,
    precision: Precision,
    layout: Layout | None = None,
    dtype: Dtype | None = None,
) -> Artifact:
    """Return the manifest's entry for an artifact; layout and dtype where they are its own."""
    return Artifact(
        file=file,
        runtime=runtime,
        precision=precision,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        layout=layout,
        dtype=dtype,
    )


def unmeasured(limits: Mapping[str, float]) -> Parity:
    """Return the parity of an artifact that was not compared yet: as bad as can be, not passed."""
    return Parity(
        metrics={f"{role}_max_error": sys.float_info.max for role in limits},
        limits={f"{role}_max_error": Limit(at_most=limit) for role, limit in limits.items()},
        samples=1,
        passed=False,
    )


def prove_and_write(
    out: Path,
    draft: Manifest,
    contents: Mapping[str, bytes],
    *,
    parity: Callable[[Network], Parity],
    findings: Callable[[Network], Sequence[Finding]],
    allow_parity_loss: bool = False,
) -> Manifest:
    """Measure every artifact of ``draft`` against the original; write them where they agree.

    An artifact that misses its limit, or reads the golden face wrongly, has ``passed: false``;
    nothing is written then, unless that is allowed: ``auto`` never chooses such an artifact.

    Args:
        out: the model folder.
        draft: the manifest, its parity not measured yet.
        contents: the artifacts' bytes, by file name.
        parity: how far a running artifact agrees with the original (``network.info`` says which
            artifact, of which precision, it is).
        findings: what a running artifact gets wrong about the golden face.
        allow_parity_loss: write all the same.

    Returns:
        The manifest with its parity; nothing was written where one has not passed and that is
        not allowed.

    Raises:
        ModelError: an artifact that agrees with the original reads the golden face wrongly, or
            the folder cannot be written.
    """
    measured: dict[str, Parity] = {}
    for artifact in draft.artifacts:
        session = open_session(artifact.runtime, contents[artifact.file], 1)
        network = Network(draft, artifact, session, 1)
        measured[artifact.file] = parity(network)
        wrong = [*findings(network)] if measured[artifact.file].passed else []
        if wrong and not allow_parity_loss:
            raise ModelError(f"{out}: {artifact.file}: {wrong[0]}; nothing was exported")
        if wrong:
            measured[artifact.file] = measured[artifact.file].model_copy(update={"passed": False})
    manifest = draft.model_copy(update={"parity": measured})
    if allow_parity_loss or all(each.passed for each in measured.values()):
        write_model(out, manifest, dict(contents))
    return manifest


def write_model(out: Path, manifest: Manifest, contents: dict[str, bytes]) -> None:
    """Write ``contents`` (file name -> bytes) and the manifest into ``out``.

    The same input gives the same bytes. Files that the folder also holds (its README) stay. When
    writing fails, what was there before stays unchanged; when it is cut off between two renames,
    the hashes disagree and the daemon refuses the folder.

    Raises:
        ModelError: the folder cannot be written.
    """
    text = manifest.model_dump_json(indent=2, exclude_none=True) + "\n"
    files = {**contents, "manifest.json": text.encode()}
    new_folder = not os.path.lexists(out)
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
        if new_folder and os.path.isdir(out) and not any(out.iterdir()):
            out.rmdir()
