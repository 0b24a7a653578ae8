"""Writes the card of an exported expression network: what is known of it, and what is not."""

from pathlib import Path
from typing import Final

from edge.errors import ModelError
from edge.vision.inference.manifest import Manifest

CARD: Final = "README.md"
_OURS: Final = "<!-- Written by the export, anew each time; without this line it stays yours. -->\n"


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write the card of ``manifest`` into its folder, unless there is one of the user.

    Raises:
        ModelError: it cannot be written.
    """
    path = folder / CARD
    try:
        if path.exists() and not path.read_bytes().startswith(_OURS.encode()):
            return
        path.write_text(_OURS + card_of(manifest), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"--out {folder}: {CARD}: {error.strerror}") from error


def card_of(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    unknown, anchors = manifest.unknown_expressions, manifest.anchors
    input_, options = manifest.input, manifest.exporter.options
    affect = "the network's second output"
    if anchors is not None:
        points = ", ".join(f"({valence:g}, {arousal:g})" for valence, arousal in anchors.points)
        affect = (
            f"not from the network: {anchors.origin}, weighted with the probabilities: {points}"
        )
    if manifest.recalibration is not None and manifest.recalibration.points is not None:
        affect = f"points fitted on {manifest.recalibration.fitted_on}"
    rows = {
        "weights": f"`{manifest.source.file}`, sha256 `{manifest.source.sha256}`",
        "licence": manifest.source.licence,
        "publication": manifest.source.citation,
        "input": f"{input_.width}x{input_.height}, {input_.colour}",
        "normalisation in training": str(options.get("normalisation", "unknown")),
        "expressions, in its order": ", ".join(manifest.labels),
        "expressions that it does not know": (
            f"{', '.join(unknown)}: null in messages, not 0" if unknown else "none"
        ),
        "valence and arousal": affect,
        "the golden face, which smiles": str(options.get("golden_face", "not checked")),
    }
    lines = [f"# {manifest.name}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text.replace('|', '/')} |" for name, text in rows.items()]
    lines += ["", "| artifact | parity with the original network |", "|---|---|"]
    for file, parity in manifest.parity.items():
        figures = ", ".join(f"{name} {value:.3g}" for name, value in parity.metrics.items())
        lines.append(f"| `{file}` | {'passed' if parity.passed else 'MISSED'}: {figures} |")
    lines += [
        "",
        "How accurate it is on your pictures is not known: `python -m benchmarks accuracy`.",
    ]
    return "\n".join(lines) + "\n"
