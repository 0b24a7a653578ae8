"""``python -m exporters.recipes {train|adapt}``: see ``exporters/recipes/README.md``."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import EXIT_DONE, AffectEdgeError, ConfigError
from exporters.__main__ import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage of the recipe; return the exit code."""
    try:
        told = _run(arguments)
    except AffectEdgeError as error:
        print(f"recipes: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(told, indent=2))
    return EXIT_DONE


def _run(arguments: Sequence[str] | None) -> dict[str, Any]:
    try:
        # Imported here: they need PyTorch, which only the exporters' environment has.
        from exporters.recipes import adapt, nirfaces, onnx_file, train  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{error}; run `make setup-export` and use .venv-export/bin/python -m exporters.recipes"
        ) from error
    parser = Parser(prog="python -m exporters.recipes", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    first = stages.add_parser("train", help="expression from rated visible-light crops")
    first.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    first.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    first.add_argument(
        "--guides", type=Path, nargs="+", default=[], metavar="RUN",
        help="earlier runs: begin with the first one's weights, learn from the answers of all",
    )  # fmt: skip
    for field in dataclasses.fields(train.TrainOptions):
        name = f"--{field.name.replace('_', '-')}"
        first.add_argument(name, type=type(field.default), default=field.default)
    second = stages.add_parser("adapt", help="what near-infrared photographs make of its answers")
    second.add_argument("--run", type=Path, required=True, help="folder that train wrote")
    second.add_argument("--images", type=Path, required=True, help="the photographs")
    second.add_argument("--labels", type=Path, required=True, help="their annotations, CSV")
    second.add_argument(
        "--out", type=Path, required=True, help="ONNX file to write; its recalibration beside it"
    )
    second.add_argument("--seed", type=int, default=adapt.AdaptOptions.seed)
    asked = parser.parse_args(arguments)
    if asked.stage == "train":
        names = [field.name for field in dataclasses.fields(train.TrainOptions)]
        chosen = train.TrainOptions(**{name: getattr(asked, name) for name in names})
        return {**train.train(asked.data, asked.out, chosen, guides=asked.guides)}
    options = adapt.AdaptOptions(seed=asked.seed)
    network = train.trained_network(asked.run)
    nir = nirfaces.read_nir_faces(asked.images, asked.labels, options.margin)
    told, _, _ = adapt.left_out(network, nir, options)  # fitted without the person each time
    everybody = nir.of(set(nir.subjects))
    setting = adapt.fit(adapt.answers_of(network, nir, options), nir, everybody, options)
    onnx_file.write_checkpoint(network, asked.out, "")
    asked.out.with_suffix(".json").write_text(setting.model_dump_json(indent=2) + "\n")
    return told


if __name__ == "__main__":
    sys.exit(main())
