"""Writes a model folder: all of it or nothing, the manifest last."""

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
    """Return the manifest's entry for an artifact.

    Layout and dtype are given only if they differ from those of the manifest's input.
    """
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
    """Return a placeholder for a parity that is not measured yet: worst values, not passed."""
    return Parity(
        metrics={f"{role}_max_error": sys.float_info.max for role in limits},
        limits={f"{role}_max_error": Limit(at_most=limit) for role, limit in limits.items()},
        samples=1,
        passed=False,
    )


def open_built(manifest: Manifest, artifact: Artifact, contents: Mapping[str, bytes]) -> Network:
    """Return a network that runs an artifact that is not written yet, as the daemon would.

    Args:
        manifest: names the further networks of a cascade.
        artifact: of the network.
        contents: file name -> bytes, for the artifact and these networks.

    Raises:
        ModelError: the runtime does not load it.
    """
    stages = {
        name: open_built(manifest.of_stage(name), stage.artifact, contents)
        for name, stage in (manifest.stages or {}).items()
    }
    session = open_session(artifact.runtime, contents[artifact.file], 1)
    return Network(manifest, artifact, session, 1, stages)


def compare_and_write(
    out: Path,
    draft: Manifest,
    contents: Mapping[str, bytes],
    *,
    parity: Callable[[Network], Parity],
    findings: Callable[[Network], Sequence[Finding]],
    allow_parity_loss: bool = False,
) -> Manifest:
    """Compare every artifact of ``draft`` with the original; write the folder if all pass.

    An artifact that misses its limit or does not give the golden answers has ``passed: false``.
    Then nothing is written, unless ``allow_parity_loss``; ``auto`` never chooses such an artifact.

    Args:
        out: the model folder.
        draft: the manifest, its parity not measured yet.
        contents: the artifacts' bytes, by file name.
        parity: measures the parity of an artifact (``network.info`` names it).
        findings: returns an artifact's deviations from the golden answers.
        allow_parity_loss: write the folder even if an artifact does not pass.

    Returns:
        The manifest with its parity; nothing was written if an artifact did not pass and that is
        not allowed.

    Raises:
        ModelError: an artifact that passed its limits does not give the golden answers, or the
            folder cannot be written.
    """
    parities: dict[str, Parity] = {}
    for artifact in draft.artifacts:
        network = open_built(draft, artifact, contents)
        parities[artifact.file] = parity(network)
        deviations = [*findings(network)] if parities[artifact.file].passed else []
        if deviations and not allow_parity_loss:
            raise ModelError(f"{out}: {artifact.file}: {deviations[0]}; nothing was exported")
        if deviations:
            parities[artifact.file] = parities[artifact.file].model_copy(update={"passed": False})
    manifest = draft.model_copy(update={"parity": parities})
    if allow_parity_loss or all(each.passed for each in parities.values()):
        write_model(out, manifest, dict(contents))
    return manifest


def write_model(out: Path, manifest: Manifest, contents: dict[str, bytes]) -> None:
    """Write ``contents`` (file name -> bytes) and the manifest into ``out``.

    The same input gives the same bytes. Other files in the folder (its README) stay. If writing
    fails, the folder stays unchanged; after a crash between two renames the hashes do not match,
    and the daemon refuses the folder.

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
