"""``python -m benchmarks suite``: the runs of a board's reference file, one after another.

Each run is ``benchmarks fps`` in a process of its own, so that none inherits memory or thread pools
from another. The result is one file: what a user of a board sends, and what
``benchmarks/references`` keeps.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.apart import fps_apart
from benchmarks.arguments import (
    add_configuration,
    add_result_file,
    configuration_of,
    configuration_words,
)
from benchmarks.board import machine
from benchmarks.progress import ProgressLines
from benchmarks.reference import (
    compare_with_reference,
    load_reference,
    missed_references,
    reference_facts,
    show_reference,
)
from edge.errors import EXIT_CONFIG, ConfigError
from edge.vision.inference.choice import board_name

BASELINE: Final = "baseline"

RUNS: Final[dict[str, tuple[str, ...]]] = {
    "demo": ("--source", "demo", "--in-memory"),
    "one-face": ("--faces", "1", "--motion", "pan"),
    "one-face-1080p": ("--faces", "1", "--motion", "pan", "--size", "1920x1080"),
    "four-faces": ("--faces", "4", "--motion", "pan"),
    "ten-faces": ("--faces", "10", "--motion", "pan", "--frames", "200"),
    "thirty-faces": ("--faces", "30", "--motion", "pan", "--frames", "100"),
    "daemon": ("--source", "demo", "--mode", "daemon"),
    "daemon-paced": ("--source", "demo", "--mode", "daemon", "--paced"),
    "daemon-thirty-faces": ("--faces", "30", "--motion", "pan", "--mode", "daemon", "--paced",
                            "--frames", "200"),
    BASELINE: ("--source", "demo", "--in-memory", "--frames", "60", "--baseline",
                 "--baseline-threads", "1"),
}  # fmt: skip
"""The arguments of ``fps`` in each run."""


def add_suite(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``suite``."""
    command.add_argument("--only", default="", metavar="RUN,...", help=f"of {', '.join(RUNS)}")
    command.add_argument("--frames", type=int, metavar="N", help="frames of each run")
    command.add_argument(
        "--reference", nargs="?", const="", metavar="FILE",
        help="compare with a reference file; without FILE that of this board",
    )  # fmt: skip
    add_result_file(command)
    add_configuration(command)


def suite_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_suite`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_suite``.
    """
    configuration_of(arguments)  # a wrong one is refused before minutes of work
    if arguments.frames is not None and arguments.frames < 1:
        raise ConfigError(f"--frames {arguments.frames}: expected 1 or more")
    reference = None
    if arguments.reference is not None:
        reference = load_reference(arguments.reference, board_name())  # the same
    extra = ["--frames", str(arguments.frames)] if arguments.frames is not None else []
    extra += configuration_words(arguments)
    only = [name for name in arguments.only.split(",") if name]
    result = run_suite(only, extra, ProgressLines("suite").show)
    if reference is not None:
        result["against_reference"] = compare_with_reference(result, reference)
        result["reference"] = reference_facts(result, reference)
        result["missed"] += missed_references(result["against_reference"])
    return result


def run_suite(
    only: Sequence[str], extra: Sequence[str], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return the result of every run by name, and under ``missed`` the runs that failed.

    The earlier approach is left out, not failed, where its network or onnx is missing.

    Args:
        only: names of the runs; empty for all.
        extra: further arguments of each run, such as ``-c FILE``.
        progress: receives the name of each run when it begins.

    Raises:
        ConfigError: there is no run of that name.
    """
    unknown = [name for name in only if name not in RUNS]
    if unknown:
        raise ConfigError(f"--only {unknown[0]}: expected names of {', '.join(RUNS)}")
    conditions = machine()
    runs: dict[str, Any] = {}
    missed: list[str] = []
    for name in only or RUNS:
        progress(name)
        code, runs[name] = fps_apart([*RUNS[name], *extra])
        if code and (name != BASELINE or code != EXIT_CONFIG):
            missed.append(f"{name}: {runs[name]['failed']}")
    return {
        "benchmark": "suite",
        **conditions,
        "runs": runs,
        "invalid": [
            f"{name}: {reason}" for name, run in runs.items() for reason in run.get("invalid", ())
        ],
        "missed": missed,
    }


def show_suite(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``suite``."""
    table = Table(
        "run", "frames/s", "p50 ms", "p99 ms", "processor p50", "recall",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for name, run in result["runs"].items():
        if "failed" in run:
            table.add_row(name, "-", "-", "-", "-", "-")
            continue
        steady = run.get("steady")
        processor = "-" if steady is None else f"{steady['cpu_ms']['p50']:.2f}"
        recall = run.get("faces", {}).get("recall")
        table.add_row(
            name, f"{run['fps']:.1f}", f"{run['latency_ms']['p50']:.2f}",
            f"{run['latency_ms']['p99']:.2f}", processor,
            "-" if recall is None else f"{recall:.3f}",
        )  # fmt: skip
    console.print(table)
    for name, run in result["runs"].items():
        if "failed" in run:
            console.print(f"{name}: not measured: {run['failed']}", highlight=False)
        elif run.get("faces", {}).get("reading_age_max_s") and "dropped" in run:
            console.print(
                f"{name}: {run['dropped']} frames lost; oldest reading"
                f" {run['faces']['reading_age_max_s']:.2f} s",
                highlight=False,
            )
        elif "ratio_of_medians" in run:
            console.print(
                f"{name}: {run['ratio_of_medians']:.1f} times as fast as the earlier approach,"
                f" {run['same_size_ratio']:.2f} times at the same input size",
                highlight=False,
            )
    console.print(
        f"{result['board']}, {result['cores']} cores, {result['machine']}, kernel"
        f" {result['kernel']}, governor {result['governor']}; commit {result['commit']};"
        f" {result['date']}",
        highlight=False,
    )
    for line in result["invalid"]:
        console.print(f"INVALID: {line}", style="red", highlight=False, soft_wrap=True)
    if result["invalid"]:
        console.print("Do not quote the figures of these runs.", style="red")
    if "against_reference" in result:
        show_reference(result, console)
    for line in result["missed"]:
        console.print(f"MISSED: {line}", style="red", highlight=False, soft_wrap=True)
