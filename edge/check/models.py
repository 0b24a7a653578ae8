"""``affect-edge models``: lists the artifacts of models, and verifies the bundled ones."""

import sys
from collections.abc import Sequence
from pathlib import Path

from edge.config import DetectorConfig, ExpressionConfig, MeshConfig, TranslatorConfig
from edge.errors import EXIT_CONFIG, EXIT_DONE, ModelError
from edge.vision.detect import open_detector
from edge.vision.expression import open_expression
from edge.vision.inference import (
    Finding,
    bundled_models,
    find_model,
    load_manifest,
    model_rows,
    saved_choice,
    verify,
)
from edge.vision.mesh import open_mesh
from edge.vision.translate import open_translator


def print_models(models: Sequence[str] = ()) -> None:
    """Print two lines for every artifact: what it is, and its parity.

    Args:
        models: names of bundled models, or model folders; empty: all bundled ones.

    Raises:
        ModelError: there is no such model, or its manifest is not valid.
    """
    for folder in [find_model(each) for each in models] or bundled_models():
        choice = saved_choice(folder)
        for row in model_rows(folder):
            here = ", chosen here by auto" if choice and choice.chosen == row.artifact else ""
            sys.stdout.write(
                f"{row.model}/{row.artifact}  {row.task}, {row.precision}, {row.runtime},"
                f" {row.size_bytes / 1e6:.2f} MB, sha256 {row.sha256[:16]}...{here}\n"
                f"    parity: {row.parity}\n"
            )


def verify_models() -> int:
    """Verify each bundled model: hashes, manifest, parity, decoder; print a line each.

    Returns:
        0, or 78 if anything is wrong.

    Raises:
        ModelError: there is no bundled model.
    """
    code = EXIT_DONE
    folders = bundled_models()
    if not folders:
        raise ModelError("no bundled models found; install affect-edge again")
    for folder in folders:
        findings = verify(folder) or _decoder_findings(folder)
        for finding in findings:
            sys.stdout.write(f"WRONG  {finding}\n")
            code = EXIT_CONFIG
        if not findings:
            sys.stdout.write(f"ok     {folder.name}\n")
    return code


def _decoder_findings(folder: Path) -> list[Finding]:
    """Return what the decoder finds wrong with a model: it knows which outputs it needs.

    Opens the first artifact that passed parity; the others have the same outputs by parity.
    """
    manifest = load_manifest(folder)
    passed = (each.file for each in manifest.artifacts if manifest.parity[each.file].passed)
    model, artifact = str(folder), next(passed)
    try:
        match manifest.task:
            case "face-detection":
                open_detector(DetectorConfig(model=model, artifact=artifact))
            case "facial-expression":
                open_expression(ExpressionConfig(model=model, artifact=artifact))
            case "spectrum-translation":
                open_translator(TranslatorConfig(model=model, artifact=artifact))
            case "face-mesh":
                open_mesh(MeshConfig(enabled=True, model=model, artifact=artifact))
    except ModelError as error:
        return [Finding(manifest.name, str(error))]
    return []
