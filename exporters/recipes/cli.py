"""``python -m exporters.recipes STAGE``; see README.md.

Stages: train, average, adapt, recalibrate, rated and translate.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.arguments import Parser, code_of_end
from benchmarks.evaluation.folds import add_folds, parse_folds
from benchmarks.evaluation.pictures import float_network
from edge.errors import EXIT_DONE, AffectEdgeError, ConfigError

Options = TypeVar("Options")
"""A dataclass of options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage of the recipe; return the exit code."""
    try:
        result = _run(arguments)
    except AffectEdgeError as error:
        print(f"recipes: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        return code_of_end(end, "recipes")
    print(json.dumps(result, indent=2))
    return EXIT_DONE


def _run(words: Sequence[str] | None) -> dict[str, Any]:
    try:
        # imported here: they need PyTorch, which only the exporters' environment has
        from exporters.recipes import (  # noqa: PLC0415
            adapt,
            ferplus_evaluation,
            finish,
            networks,
            nirfaces,
            onnx_file,
            train,
            translate,
        )
        from exporters.recipes.learner import TrainOptions  # noqa: PLC0415
        from exporters.recipes.runs import load_trained  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{error}; run `make setup-export` and use .venv-export/bin/python -m exporters.recipes"
        ) from error
    arguments = _parser(adapt.AdaptOptions, TrainOptions, translate.TranslateOptions).parse_args(
        words
    )
    if arguments.stage == "rated":
        return ferplus_evaluation.ferplus_figures(
            float_network(arguments.model, "facial-expression"), arguments.data
        )
    if arguments.stage == "average":
        return {**finish.average(arguments.data, arguments.out, arguments.parts)}
    if arguments.stage == "train":
        return {
            **train.train(
                arguments.data,
                arguments.out,
                _chosen(TrainOptions, arguments),
                teachers=arguments.guides,
                landmarks=arguments.landmarks,
                seen_by=arguments.seen_by,
            )
        }
    if arguments.stage == "translate":
        return translate.translate(
            arguments.data,
            arguments.images,
            arguments.labels,
            arguments.out,
            _chosen(translate.TranslateOptions, arguments),
            expression=arguments.expression,
            left_out=_people(arguments.leave_out),
        )
    if not arguments.fitted_on.strip():
        raise ConfigError("--fitted-on: empty; expected what the photographs are")
    recalibration_file = _recalibration_file(arguments.stage, arguments.out)
    options = adapt.AdaptOptions(seed=arguments.seed, fitted_on=arguments.fitted_on)
    if arguments.stage == "recalibrate":
        return _recalibrate(arguments, options, recalibration_file)
    assert recalibration_file is not None  # the stage adapt writes one
    trained = load_trained(arguments.run)
    nir = nirfaces.load_nir_faces(arguments.images, arguments.labels, options.margin, networks.SIDE)
    predictions = adapt.predict_all(adapt.predictor_from_network(trained), nir, options)
    result, _, _ = adapt.cross_validate(predictions, nir, options)
    recalibration = adapt.fit(predictions, nir, nir.indices_of(set(nir.subjects)), options)
    onnx_file.write_checkpoint(trained, arguments.out, "")
    recalibration_file.write_text(recalibration.model_dump_json(indent=2) + "\n")
    return result


def _recalibrate(
    arguments: argparse.Namespace, options: Any, recalibration_file: Path | None
) -> dict[str, Any]:
    """Fit to photographs, or to what translators make of them; write a file or a model folder."""
    from exporters.recipes import recalibrate, translated  # noqa: PLC0415 - they need PyTorch

    model, photographs = arguments.model, (arguments.images, arguments.labels)
    if folds := parse_folds(arguments.fold):
        if recalibration_file is None:
            raise ConfigError(
                f"--fold with --out {arguments.out}: translated pictures give a recalibration and"
                " no heads; expected a file that ends in .json"
            )
        result, recalibration = translated.recalibrate(model, folds, *photographs, options)
    else:
        result, fitted, data = recalibrate.recalibrate(model, *photographs, options)
        if recalibration_file is None:
            manifest = recalibrate.write_folder(
                model, arguments.images, arguments.out, fitted, data
            )
            for file, parity in manifest.parity.items():
                if not parity.passed:
                    print(
                        f"recipes: {file} agrees with float on fewer of these photographs than its"
                        " limit; the daemon will not choose it",
                        file=sys.stderr,
                    )
            return result
        recalibration = fitted.recalibration
    recalibration_file.write_text(recalibration.model_dump_json(indent=2) + "\n")
    return result


def _chosen(options: type[Options], arguments: argparse.Namespace) -> Options:
    """Return the ``options`` of the command line."""
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    return options(**{name: getattr(arguments, name) for name in names})


def _people(text: str) -> list[str]:
    """Return the people of ``--leave-out``.

    Raises:
        ConfigError: one has no name.
    """
    people = [name.strip() for name in text.split(",")] if text else []
    if not all(people):
        raise ConfigError(f"--leave-out {text}: expected people of --labels, such as 3,7,11")
    return people


def _add_options(stage: argparse.ArgumentParser, options: Any) -> None:
    """Add an option for each field of a dataclass, with its default."""
    for field in dataclasses.fields(options):
        name = f"--{field.name.replace('_', '-')}"
        stage.add_argument(name, type=type(field.default), default=field.default)


def _parser(adapt_options: Any, train_options: Any, translate_options: Any) -> Parser:
    """Return the parser of all stages; defaults come from the option classes."""
    parser = Parser(prog="python -m exporters.recipes", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    train = stages.add_parser(
        "train", help="train on FER+: visible-light crops with annotators' votes"
    )
    train.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    train.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    train.add_argument(
        "--guides", type=Path, nargs="+", default=[], metavar="RUN",
        help="teachers: earlier runs, or ONNX files of their networks; start from the weights of "
        "the first one, learn from the predictions of all",
    )  # fmt: skip
    train.add_argument(
        "--landmarks", type=Path, metavar="FILE",
        help="output of scripts/find_landmarks.py for --data: also learn to locate landmarks",
    )  # fmt: skip
    train.add_argument(
        "--seen-by", type=Path, metavar="RUN",
        help="run of translate: train on the crops as its generator shows them in near infrared",
    )  # fmt: skip
    _add_options(train, train_options)
    translate = stages.add_parser(
        "translate", help="train generators, near infrared to visible light and back"
    )
    translate.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    translate.add_argument("--images", type=Path, required=True, help="the photographs")
    translate.add_argument("--labels", type=Path, required=True, help="their annotations, CSV")
    translate.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    translate.add_argument(
        "--expression", type=Path, required=True, metavar="RUN",
        help="a run of train, or the ONNX file of its network: its features are kept",
    )  # fmt: skip
    translate.add_argument(
        "--leave-out", default="", metavar="PEOPLE",
        help="people of --labels, as A,B,C, whose photographs are not used",
    )  # fmt: skip
    _add_options(translate, translate_options)
    average = stages.add_parser("average", help="average the weights of related runs")
    average.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    average.add_argument("--out", type=Path, required=True, help="folder for the result")
    average.add_argument(
        "--parts", type=Path, nargs="+", required=True, metavar="RUN",
        help="runs that started from the same weights, or ONNX files of their networks",
    )  # fmt: skip
    adapt = stages.add_parser("adapt", help="fit a recalibration to near-infrared photographs")
    adapt.add_argument("--run", type=Path, required=True, help="folder that train wrote")
    recalibrate = stages.add_parser(
        "recalibrate", help="fit recalibration and heads of a model folder to your domain"
    )
    evaluation = stages.add_parser("rated", help="evaluate a model folder on the FER+ test crops")
    for stage in (recalibrate, evaluation):
        stage.add_argument("--model", required=True, help="bundled expression model, or its folder")
    add_folds(recalibrate)
    evaluation.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    for stage, out in (
        (adapt, "ONNX file to write; its recalibration goes next to it"),
        (
            recalibrate,
            "model folder to write; or a file that ends in .json: the recalibration alone, for"
            " exporters mobilenet-fer --recalibration",
        ),
    ):
        stage.add_argument("--images", type=Path, required=True, help="the photographs")
        stage.add_argument("--labels", type=Path, required=True, help="their annotations, CSV")
        stage.add_argument("--out", type=Path, required=True, help=out)
        stage.add_argument("--seed", type=int, default=adapt_options.seed)
        stage.add_argument(
            "--fitted-on", metavar="TEXT", default=adapt_options.fitted_on,
            help="description of the photographs, for the manifest",
        )  # fmt: skip
    return parser


def _recalibration_file(stage: str, out: Path) -> Path | None:
    """Return the file for the recalibration; checked first, because the fit takes minutes.

    None: ``out`` is a model folder to write.

    Raises:
        ConfigError: ``out`` is not in an existing folder, exists as a folder, or has the wrong
            suffix.
    """
    if stage == "adapt" and out.suffix != ".onnx":
        raise ConfigError(f"--out {out}: expected a file that ends in .onnx")
    recalibration_file = out.with_suffix(".json") if stage == "adapt" else out
    if not os.path.isdir(out.parent) or os.path.isdir(out) or os.path.isdir(recalibration_file):
        raise ConfigError(f"--out {out}: expected a new name in a folder that exists")
    return recalibration_file if recalibration_file.suffix == ".json" else None
