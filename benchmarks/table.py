"""``python -m benchmarks table``: speed by artifacts, schedule and translator, in one table.

Each cell is ``benchmarks fps`` on the demo clip in memory, in a process of its own.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
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
from benchmarks.show_fps import show_conditions
from edge.config import Config
from edge.errors import ConfigError
from edge.vision.inference import find_model, load_manifest

FRAMES: Final = 300
TRANSLATED_FRAMES: Final = 20
"""Measured frames of a cell with the translator: a generator of full size takes seconds for one."""

ARTIFACTS: Final[Mapping[str, tuple[str, str]]] = {
    "float": ("fp32", "onnxruntime"),
    "int8 ONNX": ("int8", "onnxruntime"),
    "int8 TensorFlow Lite": ("int8", "litert"),
}
"""Precision and runtime of the rows."""

SCHEDULES: Final = ("every-frame", "region")


def add_table(table: argparse.ArgumentParser) -> None:
    """Add the options of ``table``."""
    table.add_argument(
        "--frames", type=int, default=FRAMES, metavar="N", help=f"of a cell: {FRAMES}"
    )
    table.add_argument(
        "--translated-frames", type=int, default=TRANSLATED_FRAMES, metavar="N",
        help=f"of a cell with the translator: {TRANSLATED_FRAMES}",
    )  # fmt: skip
    add_result_file(table)
    add_configuration(table)


def table_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run ``table`` with parsed arguments.

    Raises:
        ConfigError: an argument is wrong.
        ModelError: a manifest is missing or invalid.
    """
    for option in ("--frames", "--translated-frames"):
        count = getattr(arguments, option.removeprefix("--").replace("-", "_"))
        if count < 1:
            raise ConfigError(f"{option} {count}: expected 1 or more")
    config = configuration_of(arguments)
    extra = configuration_words(arguments)
    with Console(stderr=True).status("table") as status:
        return run_table(
            config, extra, arguments.frames, arguments.translated_frames,
            progress=lambda name: status.update(f"table: {name}"),
        )  # fmt: skip


def run_table(
    config: Config,
    extra: Sequence[str],
    frames: int,
    translated_frames: int,
    *,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Return the result of ``fps`` for each cell; those that failed are under ``missed``.

    A network that has no artifact of a row's kind runs in float there; the cell's ``instead`` names
    it. Without ``translator.model`` there are no cells with a translator.

    Args:
        config: names the networks.
        extra: the arguments of ``fps`` that gave ``config``.
        frames: measured frames of a cell.
        translated_frames: the same, of a cell with the translator.
        progress: receives the name of each cell when it begins.

    Raises:
        ConfigError: regions are off, so that half of the table would be missing.
        ModelError: a manifest is missing or invalid.
    """
    if not config.detector.region.model:
        raise ConfigError('detector.schedule "every-frame": expected "region", as by default')
    translated = (False, True) if config.translator.model else (False,)
    cells: list[dict[str, Any]] = []
    for kind in ARTIFACTS:
        chosen, instead = _artifacts(config, kind)
        for with_translator in translated:
            for schedule in SCHEDULES:
                name = f"{kind}, {schedule}{', translated' if with_translator else ''}"
                progress(name)
                settings = {**chosen, "detector.schedule": schedule}
                if not with_translator:
                    settings |= {"translator.model": "", "translator.artifact": "auto"}
                arguments = ["--source", "demo", "--in-memory", *extra]
                arguments += ["--frames", str(translated_frames if with_translator else frames)]
                for key, value in settings.items():
                    arguments += ["--set", f"{key}={json.dumps(value)}"]
                _, result = fps_apart(arguments)
                cells.append({
                    "name": name, "artifacts": kind, "schedule": schedule,
                    "translated": with_translator, "instead": instead, "result": result,
                })  # fmt: skip
    results = [(each["name"], each["result"]) for each in cells]
    return {
        "benchmark": "table",
        "cells": cells,
        "invalid": [
            f"{name}: {reason}" for name, each in results for reason in each.get("invalid", ())
        ],
        "missed": [f"{name}: {each['failed']}" for name, each in results if "failed" in each],
    }


def _artifacts(config: Config, kind: str) -> tuple[dict[str, str], list[str]]:
    """Return the settings that name the artifacts of a row, and the networks in float instead."""
    models = {
        "detector.artifact": config.detector.model,
        "detector.region_artifact": config.detector.region.model,
        "expression.artifact": config.expression.model,
        "translator.artifact": config.translator.model,
    }
    chosen, instead = {}, []
    for key, model in models.items():
        if not model:
            continue
        manifest = load_manifest(find_model(model))
        files: dict[tuple[str, str], str] = {
            (each.precision, each.runtime): each.file
            for each in reversed(manifest.artifacts)
            if manifest.parity[each.file].passed
        }
        file = files.get(ARTIFACTS[kind])
        if file is None:
            instead.append(manifest.name)
            file = files.get(ARTIFACTS["float"], manifest.artifacts[0].file)
        chosen[key] = file
    return chosen, instead


def show_table(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``table``."""
    table = Table(
        "artifacts", "schedule", "translator", "frames/s", "processor p50, ms", "not networks, ms",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    for column in table.columns[3:]:
        column.justify = "right"
    notes: dict[str, None] = {}
    for cell in result["cells"]:
        run, figures = cell["result"], ["-", "-", "-"]
        if "failed" not in run:
            cpu_ms = run["latency_cpu_ms"]["p50"]
            figures = [f"{run['fps']:.1f}", f"{cpu_ms:.2f}", f"{run['outside_cpu_ms']:.2f}"]
        translator = "yes" if cell["translated"] else "no"
        table.add_row(cell["artifacts"], cell["schedule"], translator, *figures)
        if cell["instead"]:
            notes[f"{cell['artifacts']}: in float instead: {', '.join(cell['instead'])}"] = None
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
    for line in result["missed"]:
        console.print(f"MISSED: {line}", style="red", highlight=False, soft_wrap=True)
    measured = [each["result"] for each in result["cells"] if "failed" not in each["result"]]
    if measured:
        models: dict[str, dict[str, str]] = {}
        for each in measured:
            for name, artifacts in each["models"].items():
                models.setdefault(name, {}).update(artifacts)
        show_conditions({**measured[0], "models": models}, console)
    for line in result["invalid"]:
        console.print(f"INVALID: {line}", style="red", highlight=False, soft_wrap=True)
    if result["invalid"]:
        console.print("Do not quote the figures of these cells.", style="red")
