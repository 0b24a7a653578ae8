"""``python -m benchmarks COMMAND``.

``COMMAND``: fps, table, schedule, suite, cost, accuracy, parity, detectors, thresholds, mesh, calm
or soak.
"""

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import run_accuracy
from benchmarks.arguments import Parser, add_configuration, add_result_file, configuration_words
from benchmarks.calm import add_calm, calm_of, show_calm
from benchmarks.cost import run_cost, show_cost
from benchmarks.detectors import add_detectors, detectors_of, show_detectors
from benchmarks.evaluation.folds import add_folds, parse_folds
from benchmarks.fps import require_writable, save
from benchmarks.fps_arguments import PURPOSE, add_fps, fps_of
from benchmarks.mesh import run_mesh, show_mesh
from benchmarks.parity import run_parity
from benchmarks.reference import (
    compare_with_reference,
    load_reference,
    missed_references,
    reference_facts,
    show_reference,
)
from benchmarks.schedule import run_schedule, show_schedule
from benchmarks.show_fps import show_conditions, show_fps, show_load
from benchmarks.soak import RATE_HZ, run_soak, show_soak
from benchmarks.suite import RUNS, run_suite, show_missed, show_suite
from benchmarks.table import add_table, show_table, table_of
from benchmarks.thresholds import LEAD_EDGES, SAME_MIN, run_thresholds
from edge.config import Config, load_config
from edge.descriptors import open_standard_streams
from edge.errors import EXIT_DONE, EXIT_FAILURE, AffectEdgeError, ConfigError
from edge.vision.inference.choice import board_name
from edge.vocabulary import EXPRESSIONS


def _parser() -> Parser:
    parser = Parser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True, parser_class=Parser)
    add_fps(commands.add_parser("fps", help="speed, per stage, against a baseline"))
    suite = commands.add_parser("suite", help="the runs of a board's reference file")
    suite.add_argument("--only", default="", metavar="RUN,...", help=f"of {', '.join(RUNS)}")
    suite.add_argument("--frames", type=int, metavar="N", help="frames of each run")
    suite.add_argument(
        "--reference", nargs="?", const="", metavar="FILE",
        help="compare with a reference file; without FILE that of this board",
    )  # fmt: skip
    add_result_file(suite)
    add_configuration(suite)
    add_table(commands.add_parser("table", help="speed by artifacts, schedule and translator"))
    cost = commands.add_parser("cost", help="operations of a frame; predicted speed of boards")
    cost.add_argument("--faces", default="1,2,4,8,16,30", metavar="N,...", help="in view")
    add_result_file(cost)
    add_configuration(cost)
    schedule = commands.add_parser("schedule", help="detection by regions against every frame")
    schedule.add_argument("--images", type=Path, metavar="DIR", help="photographs to set in motion")
    schedule.add_argument("--pictures", type=int, metavar="N", help="photographs; all by default")
    add_result_file(schedule)
    add_configuration(schedule)
    _add_accuracy(commands.add_parser("accuracy", help="accuracy on annotated pictures"))
    thresholds = commands.add_parser(
        "thresholds", help="quality limits: where labels stop being stable"
    )
    thresholds.add_argument("--images", type=Path, required=True, metavar="DIR")
    thresholds.add_argument("--labels", type=Path, required=True, metavar="CSV")
    add_result_file(thresholds)
    add_configuration(thresholds)
    parity = commands.add_parser("parity", help="agreement of each artifact with the float network")
    parity.add_argument("--model", required=True, metavar="NAME", help="bundled, or a folder")
    parity.add_argument("--images", type=Path, required=True, metavar="DIR")
    parity.add_argument("--threads", type=int, default=1, metavar="N", help="threads per network")
    add_result_file(parity)
    add_detectors(commands.add_parser("detectors", help="detectors compared on your pictures"))
    mesh = commands.add_parser("mesh", help="head pose and lids of faces turned by known angles")
    mesh.add_argument("--images", type=Path, metavar="DIR", help="photographs; else the demo clip")
    add_result_file(mesh)
    add_configuration(mesh)
    add_calm(commands.add_parser("calm", help="labels of a still face; delay of a change"))
    soak = commands.add_parser("soak", help="daemons and loggers for hours, with faults")
    soak.add_argument("--hours", type=float, required=True, metavar="H")
    soak.add_argument("--faults", action="store_true", help="kill, stop and disturb at random")
    soak.add_argument("--fault-every", type=float, default=5.0, metavar="S", help="mean time: 5")
    soak.add_argument("--rate", type=float, default=RATE_HZ, metavar="HZ", help="frames: 60")
    soak.add_argument("--seed", type=int, default=1, metavar="N", help="of the faults")
    soak.add_argument("--postgresql", action="store_true", help="also log into PostgreSQL")
    add_result_file(soak)
    return parser


def _add_accuracy(accuracy: argparse.ArgumentParser) -> None:
    accuracy.add_argument("--images", type=Path, required=True, metavar="DIR")
    accuracy.add_argument(
        "--labels", type=Path, required=True, metavar="CSV",
        help="columns file,subject,expression,valence,arousal",
    )  # fmt: skip
    accuracy.add_argument("--pipeline", choices=("direct", "translate"), default="direct")
    add_folds(accuracy)
    accuracy.add_argument("--artifact", metavar="NAME", help="of the expression network")
    accuracy.add_argument(
        "--personal-baseline",
        action="store_true",
        help="predictions relative to each person's neutral picture",
    )
    add_result_file(accuracy)
    add_configuration(accuracy)


def main(argv: Sequence[str]) -> int:
    """Run one benchmark; return 0, 1 (it failed, or a limit is missed), 78 (wrong input), 130."""
    try:
        arguments = _parser().parse_args(argv)
        run, shown = {
            "fps": (fps_of, show_fps),
            "suite": (_suite, _show_suite),
            "table": (table_of, show_table),
            "cost": (_cost, show_cost),
            "schedule": (_schedule, _show_schedule),
            "accuracy": (_accuracy, show_accuracy),
            "parity": (_parity, show_parity),
            "detectors": (detectors_of, show_detectors),
            "thresholds": (_thresholds, show_thresholds),
            "mesh": (_mesh, show_mesh),
            "calm": (calm_of, _show_calm),
            "soak": (_soak, _show_soak),
        }[arguments.benchmark]
        if arguments.json:
            require_writable(arguments.json)
        result = run(arguments)
        result["command"] = "python -m benchmarks " + shlex.join(_recorded_arguments(argv))
        if arguments.json:
            save(result, arguments.json)
    except AffectEdgeError as error:
        sys.stderr.write(f"benchmarks: error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("benchmarks: interrupted\n")
        return 128 + signal.SIGINT
    shown(result, Console())
    return EXIT_FAILURE if result.get("missed") else EXIT_DONE


def _recorded_arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments that affect the result: all but the output file."""
    words = iter(argv)
    kept = []
    for word in words:
        if word == "--json":
            next(words, None)
        elif not word.startswith("--json="):
            kept.append(word)
    return kept


def _configuration(arguments: argparse.Namespace, *settings: str) -> Config:
    """Return the configuration of a command's options, with further ``settings``."""
    return load_config(
        arguments.config, settings=[PURPOSE, *arguments.set, *settings], overrides={}
    )


def _suite(arguments: argparse.Namespace) -> dict[str, Any]:
    _configuration(arguments)
    if arguments.frames is not None and arguments.frames < 1:
        raise ConfigError(f"--frames {arguments.frames}: expected 1 or more")
    reference = None
    if arguments.reference is not None:
        reference = load_reference(arguments.reference, board_name())  # before minutes of work
    extra = ["--frames", str(arguments.frames)] if arguments.frames is not None else []
    extra += configuration_words(arguments)
    with Console(stderr=True).status("suite") as status:
        result = run_suite(
            [name for name in arguments.only.split(",") if name],
            extra,
            lambda name: status.update(f"suite: {name}"),
        )
    if reference is not None:
        result["against_reference"] = compare_with_reference(result, reference)
        result["reference"] = reference_facts(result, reference)
        result["missed"] += missed_references(result["against_reference"])
    return result


def _show_suite(result: dict[str, Any], console: Console) -> None:
    show_suite(result, console)
    if "against_reference" in result:
        show_reference(result, console)
    show_missed(result, console)


def _cost(arguments: argparse.Namespace) -> dict[str, Any]:
    try:
        faces = [int(each) for each in arguments.faces.split(",")]
    except ValueError as error:
        raise ConfigError(f"--faces {arguments.faces}: expected numbers, such as 1,4,16") from error
    config = _configuration(arguments)
    return run_cost(config, faces)


def _schedule(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.pictures is not None and arguments.pictures < 2:
        raise ConfigError(f"--pictures {arguments.pictures}: expected 2 or more")
    config = _configuration(arguments)
    with Console(stderr=True).status("schedule") as status:
        return run_schedule(
            config,
            images=arguments.images,
            pictures_max=arguments.pictures,
            progress=status.update,
        )


def _show_schedule(result: dict[str, Any], console: Console) -> None:
    show_schedule(result, console, show_conditions)
    show_load(result, console)


def _accuracy(arguments: argparse.Namespace) -> dict[str, Any]:
    artifact = arguments.artifact
    chosen = [f"expression.artifact={json.dumps(artifact)}"] if artifact else []
    config = _configuration(arguments, *chosen)
    translated, translator = arguments.pipeline == "translate", config.translator
    folds = parse_folds(arguments.fold)
    if folds and not translated:
        raise ConfigError("--fold: holds translators; expected --pipeline translate with it")
    if translated and not translator.model and not folds:
        raise ConfigError(
            "--pipeline translate: no translator; name one: --set 'translator.model=\"FOLDER\"',"
            " or several by --fold FOLDER=PEOPLE"
        )
    if not translated:
        off = translator.model_copy(update={"model": ""})
        config = config.model_copy(update={"translator": off})
    return run_accuracy(
        config,
        images=arguments.images,
        labels=arguments.labels,
        personal_baseline=arguments.personal_baseline,
        folds=folds,
    )


def _parity(arguments: argparse.Namespace) -> dict[str, Any]:
    if not 1 <= arguments.threads <= 16:
        raise ConfigError(f"--threads {arguments.threads}: expected 1 to 16")
    with Console(stderr=True).status("parity") as status:
        return run_parity(
            arguments.model, arguments.images, threads=arguments.threads, progress=status.update
        )


def _thresholds(arguments: argparse.Namespace) -> dict[str, Any]:
    config = _configuration(arguments)
    with Console(stderr=True).status("thresholds"):
        return run_thresholds(config, images=arguments.images, labels=arguments.labels)


def _mesh(arguments: argparse.Namespace) -> dict[str, Any]:
    config = _configuration(arguments)
    with Console(stderr=True).status("mesh") as status:
        return run_mesh(config, images=arguments.images, progress=status.update)


def _show_calm(result: dict[str, Any], console: Console) -> None:
    show_calm(result, console)
    show_conditions(result, console)


def _soak(arguments: argparse.Namespace) -> dict[str, Any]:
    return run_soak(
        hours=arguments.hours,
        faults=arguments.faults,
        fault_every_s=arguments.fault_every,
        rate_hz=arguments.rate,
        seed=arguments.seed,
        postgresql=arguments.postgresql,
    )


def _show_soak(result: dict[str, Any], console: Console) -> None:
    show_soak(result, console, show_conditions)
    show_load(result, console)


def show_thresholds(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``thresholds``."""
    table = Table(
        "fault", "degree", "measure", "same label", "top1", "valence rmse", "arousal rmse",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    for fault, rows in result["faults"].items():
        for row in rows:
            table.add_row(
                fault, f"{row['degree']:g}", f"{row['measure']:.3g}", f"{row['same_label']:.2f}",
                f"{row['top1']:.2f}", f"{row['valence_rmse']:.3f}", f"{row['arousal_rmse']:.3f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    for row in result["hits_by_lead"]:
        low, high = row["from"], min(1.0, next(edge for edge in LEAD_EDGES if edge > row["from"]))
        console.print(
            f"lead over the second {low:.1f} to {high:.1f}: {row['faces']} faces,"
            f" {row['hits']:.2f} labelled correctly",
            highlight=False,
        )
    moved = result["same_label_when_only_the_frame_differs"]
    console.print(f"same label on another frame of the same face: {moved:.2f}", highlight=False)
    console.print(f"limits (same label {SAME_MIN} times that):")
    for name, value in result["limits"].items():
        shown = "never reached" if value is None else f"{value:.3g}"
        console.print(f"  {name} {shown}", highlight=False)
    show_conditions(result, console)


def show_parity(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``parity``: a row per figure, a column per artifact."""
    artifacts = result["artifacts"]
    table = Table("figure", *artifacts, title=result["command"], title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    names = dict.fromkeys(name for row in artifacts.values() for name in row["metrics"])
    for name in names:
        cells = [row["metrics"].get(name) for row in artifacts.values()]
        table.add_row(name, *("-" if cell is None else f"{cell:.4g}" for cell in cells))
    times = [row["ms"] for row in artifacts.values()]
    table.add_row("milliseconds", *("-" if each is None else f"{each:.2f}" for each in times))
    table.add_row("bytes", *(str(row["bytes"]) for row in artifacts.values()))
    passed = [row["at_export"]["passed"] for row in artifacts.values()]
    table.add_row("parity at export", *("passed" if each else "FAILED" for each in passed))
    console.print(table)
    kept = ", kept back from calibration" if result["kept_back_from_calibration"] else ""
    console.print(
        f"against {result['reference']}, over {result['pictures']} pictures{kept}", highlight=False
    )
    show_conditions(result, console)
    show_load(result, console)


def show_accuracy(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``accuracy``."""
    plain, direct = result.get("without_baseline"), result.get("direct")
    table = Table("figure", "value", "95 %", title=result["command"], title_justify="left")
    if plain:
        table.add_column("without baseline")
    if direct:
        table.add_column("direct")
    rows: list[tuple[str, tuple[str, ...]]] = [
        (name, (name,)) for name in ("top1", "top2", "top3", "macro_f1")
    ]
    rows += [
        (f"{axis} {name}", (axis, name))
        for axis in ("valence", "arousal")
        for name in ("rmse", "ccc", "sagr")
    ]
    rows.append(("calibration error", ("ece",)))
    for name, path in rows:
        value, interval = _nested(result, path)["value"], _nested(result, path)["interval95"]
        cells = [name, f"{value:.3f}", f"{interval[0]:.3f} .. {interval[1]:.3f}"]
        others = [each for each in (plain, direct) if each]
        table.add_row(*cells, *(f"{_nested(each, path)['value']:.3f}" for each in others))
    down, regions = result["downsampled"], result["normalised_rmse"]
    table.add_row("balanced top1 / macro_f1", f"{down['top1']:.3f} / {down['macro_f1']:.3f}")
    table.add_row("normalised rmse v / a", f"{regions['valence']:.3f} / {regions['arousal']:.3f}")
    console.print(table)
    grid = Table("annotated, predicted", *(name[:4] for name in EXPRESSIONS), "F1", "95 %")
    for name, counts, score, interval in zip(
        EXPRESSIONS, result["confusion"], result["f1"], result["f1_interval95"], strict=True
    ):
        shown = ("-", "-")
        if score is not None:
            shown = (f"{score:.2f}", f"{interval[0]:.2f} .. {interval[1]:.2f}")
        grid.add_row(name, *map(str, counts), *shown)
    console.print(grid)
    if direct:
        console.print(_differences_table(result["difference"]))
        console.print(
            "Each picture was translated without its person."
            if result["folds"]
            else "The translator may have been trained on these people: see --fold.",
            highlight=False,
        )
    console.print(
        f"{result['n']} pictures, a face found on {result['detected']}, {result['usable']} of them"
        f" usable for the daemon, {result['scored']} scored; intervals: bootstrapped by person",
        highlight=False,
    )
    show_conditions(result, console)


def _differences_table(difference: dict[str, Any]) -> Table:
    table = Table("translated minus direct", "value", "95 %")
    for name, each in difference.items():
        low, high = each["interval95"]
        table.add_row(name, f"{each['value']:+.3f}", f"{low:+.3f} .. {high:+.3f}")
    return table


def _nested(result: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        result = result[name]
    return result


if __name__ == "__main__":
    open_standard_streams()
    sys.exit(main(sys.argv[1:]))
