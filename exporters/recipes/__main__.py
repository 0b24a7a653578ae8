"""``python -m exporters.recipes {train|adapt}``: see ``exporters/recipes/README.md``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import EXIT_DONE, AffectEdgeError
from exporters.recipes.adapt import AdaptOptions, features_of, fit_heads, left_out
from exporters.recipes.nirfaces import read_nir_faces
from exporters.recipes.onnx_file import write_checkpoint
from exporters.recipes.train import TrainOptions, train, trained_network


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage of the recipe; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m exporters.recipes", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    first = stages.add_parser("train", help="expression from rated visible-light crops")
    first.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    first.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    first.add_argument("--epochs", type=int, default=TrainOptions.epochs)
    first.add_argument("--seed", type=int, default=TrainOptions.seed)
    second = stages.add_parser("adapt", help="heads for near-infrared photographs")
    second.add_argument("--run", type=Path, required=True, help="folder that train wrote")
    second.add_argument("--images", type=Path, required=True, help="the photographs")
    second.add_argument("--labels", type=Path, required=True, help="their annotations, CSV")
    second.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    second.add_argument("--seed", type=int, default=AdaptOptions.seed)
    options = parser.parse_args(arguments)
    try:
        told = _train(options) if options.stage == "train" else _adapt(options)
    except AffectEdgeError as error:
        print(f"recipes: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(told, indent=2))
    return EXIT_DONE


def _train(options: argparse.Namespace) -> dict[str, Any]:
    chosen = TrainOptions(epochs=options.epochs, seed=options.seed)
    return {**train(options.data, options.out, chosen)}


def _adapt(options: argparse.Namespace) -> dict[str, Any]:
    """Write the checkpoint whose heads saw everybody; return the figures of people left out."""
    chosen = AdaptOptions(seed=options.seed)
    network = trained_network(options.run)
    nir = read_nir_faces(options.images, options.labels, chosen.margin)
    told, _, _ = left_out(network, nir, chosen)
    everybody = nir.of(set(nir.subjects))
    heads = fit_heads(network, features_of(network, nir, chosen), nir, everybody, chosen)
    write_checkpoint(network, options.out, "", heads=heads)
    return told


if __name__ == "__main__":
    sys.exit(main())
