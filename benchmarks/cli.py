"""``python -m benchmarks COMMAND``.

``COMMAND``: fps, table, schedule, suite, cost, accuracy, parity, detectors, thresholds, mesh, calm
or soak.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from rich.console import Console

from benchmarks.accuracy import accuracy_of, add_accuracy, show_accuracy
from benchmarks.arguments import Parser, code_of_end
from benchmarks.calm import add_calm, calm_of, show_calm
from benchmarks.cost import add_cost, cost_of, show_cost
from benchmarks.detectors import add_detectors, detectors_of, show_detectors
from benchmarks.fps import require_writable, save
from benchmarks.fps_arguments import add_fps, fps_of
from benchmarks.mesh import add_mesh, mesh_of, show_mesh
from benchmarks.parity import add_parity, parity_of, show_parity
from benchmarks.schedule import add_schedule, schedule_of, show_schedule
from benchmarks.show_fps import show_fps
from benchmarks.soak import add_soak, show_soak, soak_of
from benchmarks.suite import add_suite, show_suite, suite_of
from benchmarks.table import add_table, show_table, table_of
from benchmarks.thresholds import add_thresholds, show_thresholds, thresholds_of
from edge.errors import EXIT_DONE, EXIT_FAILURE, AffectEdgeError


class _Command(NamedTuple):
    """A benchmark: its help, what adds its options, what runs it, and what prints its result."""

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], dict[str, Any]]
    show: Callable[[dict[str, Any], Console], None]


_COMMANDS: Final = {
    "fps": _Command("speed, per stage, against a baseline", add_fps, fps_of, show_fps),
    "suite": _Command("the runs of a board's reference file", add_suite, suite_of, show_suite),
    "table": _Command(
        "speed by artifacts, schedule and translator", add_table, table_of, show_table
    ),
    "cost": _Command(
        "operations of a frame; predicted speed of boards", add_cost, cost_of, show_cost
    ),
    "schedule": _Command(
        "detection by regions against every frame", add_schedule, schedule_of, show_schedule
    ),
    "accuracy": _Command(
        "accuracy on annotated pictures", add_accuracy, accuracy_of, show_accuracy
    ),
    "thresholds": _Command(
        "quality limits: where labels stop being stable",
        add_thresholds,
        thresholds_of,
        show_thresholds,
    ),
    "parity": _Command(
        "agreement of each artifact with the float network", add_parity, parity_of, show_parity
    ),
    "detectors": _Command(
        "detectors compared on your pictures", add_detectors, detectors_of, show_detectors
    ),
    "mesh": _Command(
        "head pose and lids of faces turned by known angles", add_mesh, mesh_of, show_mesh
    ),
    "calm": _Command("labels of a still face; delay of a change", add_calm, calm_of, show_calm),
    "soak": _Command("daemons and loggers for hours, with faults", add_soak, soak_of, show_soak),
}
"""By the word of the command line."""


def _parser() -> Parser:
    parser = Parser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True, parser_class=Parser)
    for word, command in _COMMANDS.items():
        command.add(commands.add_parser(word, help=command.help))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; return 0, 1 (it failed, or a limit is missed), 78 (wrong input), 128 + n.

    Args:
        argv: the arguments; None: those of the program.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parser().parse_args(argv)
        command = _COMMANDS[arguments.benchmark]
        if arguments.json:
            require_writable(arguments.json)
        result = command.run(arguments)
        result["command"] = "python -m benchmarks " + shlex.join(_recorded_arguments(argv))
        if arguments.json:
            save(result, arguments.json)
    except AffectEdgeError as error:
        sys.stderr.write(f"benchmarks: error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except SystemExit as end:
        return code_of_end(end, "benchmarks")
    command.show(result, Console())
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
