"""``python -m exporters.recipes {train|adapt}``: see ``exporters/recipes/README.md``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import EXIT_DONE, AffectEdgeError
from exporters.recipes.train import TrainOptions, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage of the recipe; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m exporters.recipes", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    first = stages.add_parser("train", help="expression from rated visible-light crops")
    first.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    first.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    first.add_argument("--epochs", type=int, default=TrainOptions.epochs)
    first.add_argument("--seed", type=int, default=TrainOptions.seed)
    options = parser.parse_args(arguments)
    try:
        figures = train(
            options.data, options.out, TrainOptions(epochs=options.epochs, seed=options.seed)
        )
    except AffectEdgeError as error:
        print(f"recipes: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(figures, indent=2))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
