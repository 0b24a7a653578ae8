"""Runs daemons and loggers for hours, with faults at random, and requires that nothing was lost.

The processes and the faults are those of the tests (``tests.support.soak``), so this needs a
checkout. Camera and networks are replaced by a worker that reports invented faces.
"""

import argparse
import importlib
import math
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_result_file
from benchmarks.board import OtherLoad, machine
from benchmarks.show_fps import show_conditions, show_load
from edge import clock
from edge.errors import ConfigError

HOURS_MAX: Final = 24 * 30
RATE_HZ: Final = 60.0
"""Frames a second of each daemon: twice the usual rate."""

RSS_MAX_MB_H: Final = 0.5
"""Required where the warm-up was a whole hour; shorter runs only report the slope."""

RSS_GROWTH_MAX_MB: Final = 16.0
PUBLISH_P99_MAX_MS: Final = 50.0
_WARM_UP_H: Final = 1.0  # a quarter of shorter runs
_BLOCKS: Final = 20  # means of the memory: neighbouring samples are not independent
_T95: Final = 2.10  # Student's t, 18 degrees of freedom, 95 %


def add_soak(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``soak``."""
    command.add_argument("--hours", type=float, required=True, metavar="H")
    command.add_argument("--faults", action="store_true", help="kill, stop and disturb at random")
    command.add_argument("--fault-every", type=float, default=5.0, metavar="S", help="mean time: 5")
    command.add_argument("--rate", type=float, default=RATE_HZ, metavar="HZ", help="frames: 60")
    command.add_argument("--seed", type=int, default=1, metavar="N", help="of the faults")
    command.add_argument("--postgresql", action="store_true", help="also log into PostgreSQL")
    add_result_file(command)


def soak_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_soak`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_soak``.
    """
    return run_soak(
        hours=arguments.hours,
        faults=arguments.faults,
        fault_every_s=arguments.fault_every,
        rate_hz=arguments.rate,
        seed=arguments.seed,
        postgresql=arguments.postgresql,
    )


def run_soak(
    *, hours: float, faults: bool, fault_every_s: float, rate_hz: float, seed: int, postgresql: bool
) -> dict[str, Any]:
    """Return the figures, and under ``missed`` the limits that they miss.

    Args:
        hours: how long; catching up at the end comes on top.
        faults: whether faults are injected.
        fault_every_s: mean time between two.
        rate_hz: frames a second of each daemon.
        seed: of the faults.
        postgresql: also log into a PostgreSQL server, which is started for this.

    Raises:
        ConfigError: a number is out of range, or this is no checkout with the tests' packages.
    """
    if not 0 < hours <= HOURS_MAX:
        raise ConfigError(f"--hours {hours:g}: expected more than 0, and {HOURS_MAX} at most")
    if not 0.1 <= fault_every_s <= 3600:
        raise ConfigError(f"--fault-every {fault_every_s:g}: expected 0.1 to 3600 seconds")
    if not 1 <= rate_hz <= 1000:
        raise ConfigError(f"--rate {rate_hz:g}: expected 1 to 1000 frames a second")
    try:
        parts = importlib.import_module("tests.support.soak")
        servers = importlib.import_module("tests.support.postgres")
    except ImportError as error:
        raise ConfigError(
            f"soak: {error}; expected a checkout after `make setup`, in whose folder this runs"
        ) from error
    conditions, load = machine(), OtherLoad()
    with ExitStack() as opened:
        database = None
        if postgresql:
            if servers.server_programs() is None:
                raise ConfigError("--postgresql: no server found; install the package postgresql")
            database = opened.enter_context(servers.running_server()).new_database()
        soak = opened.enter_context(parts.running_soak(rate_hz, seed, database))
        started_ns = clock.monotonic_ns()
        soak.run(hours * 3600, fault_every_s=fault_every_s if faults else None)
        seconds = clock.elapsed_ms(started_ns) / 1e3
        figures = parts.report(soak)
        figures |= growth(soak.samples)
    result = {
        **conditions,
        "threads": {},
        "models": {},
        "hours": round(seconds / 3600, 4),
        "rate_hz": rate_hz,
        "seed": seed,
        **figures,
        "other_cpu_percent": load.percent(),
    }
    result["missed"] = missed(result)
    return result


def growth(samples: Sequence[tuple[float, float, int]]) -> dict[str, Any]:
    """Return how memory and open files of the hub that is never killed have grown.

    The slope of the memory is that of a line through the means of 20 equal times after the warm-up,
    with the half width of its 95 % interval.

    Args:
        samples: monotonic seconds, resident MB, open files; in order.

    Raises:
        ConfigError: there are too few.
    """
    warm_up_s = min(_WARM_UP_H * 3600, (samples[-1][0] - samples[0][0]) / 4) if samples else 0.0
    kept = [each for each in samples if each[0] - samples[0][0] >= warm_up_s]
    size = len(kept) // _BLOCKS
    if not size:
        raise ConfigError(f"--hours: {len(samples)} seconds; expected 30 at least")
    blocks = [kept[number * size : (number + 1) * size] for number in range(_BLOCKS)]
    hours = [statistics.fmean(at_s for at_s, _, _ in block) / 3600 for block in blocks]
    sizes = [statistics.fmean(mb for _, mb, _ in block) for block in blocks]
    slope, offset = statistics.linear_regression(hours, sizes)
    residuals = [mb - (slope * at_h + offset) for at_h, mb in zip(hours, sizes, strict=True)]
    spread = sum((at_h - statistics.fmean(hours)) ** 2 for at_h in hours)
    error = math.sqrt(sum(each**2 for each in residuals) / (_BLOCKS - 2) / spread)
    files = [statistics.median_low(count for _, _, count in block) for block in blocks]
    return {
        "rss_mb": {
            "first": round(sizes[0], 2),
            "last": round(sizes[-1], 2),
            "max": round(max(mb for _, mb, _ in samples), 2),
            "slope_per_h": round(slope, 3),
            "uncertainty_per_h": round(_T95 * error, 3),
        },
        "open_files": {
            "first": statistics.median_low(files[:5]),
            "last": statistics.median_low(files[-5:]),
            "max": max(count for _, _, count in samples),
        },
    }


def missed(result: dict[str, Any]) -> list[str]:
    """Return the limits that a result misses, each with its figure."""
    rss, files, p99_ms = result["rss_mb"], result["open_files"], result["publish_ms"]["p99"]
    found = [f"{name}: {each['missing']} missing, {each['twice']} twice, {len(each['gaps'])} gaps"
             for name, each in result["logs"].items()
             if each["missing"] or each["twice"] or each["gaps"]]  # fmt: skip
    if rss["last"] - rss["first"] > RSS_GROWTH_MAX_MB:
        found.append(f"memory of the hub: {rss['first']} MB at first, {rss['last']} at last")
    is_long = result["hours"] >= 2 * _WARM_UP_H
    if is_long and rss["slope_per_h"] - rss["uncertainty_per_h"] > RSS_MAX_MB_H:
        found.append(f"memory of the hub: +{rss['slope_per_h']} MB/h; at most {RSS_MAX_MB_H}")
    if files["last"] > files["first"]:
        found.append(f"open files of the hub: {files['first']} at first, {files['last']} at last")
    if p99_ms > PUBLISH_P99_MAX_MS:
        found.append(f"publishing: p99 {p99_ms} ms; at most {PUBLISH_P99_MAX_MS}")
    if result["ended_by_themselves"]:
        found.append(f"{len(result['ended_by_themselves'])} processes ended by themselves")
    return found


def show_soak(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``soak``."""
    table = Table("figure", "value", title=result["command"], title_justify="left")
    table.columns[1].justify = "right"
    rss, files = result["rss_mb"], result["open_files"]
    table.add_row("hours", f"{result['hours']:.2f}")
    slope, uncertainty = rss["slope_per_h"], rss["uncertainty_per_h"]
    table.add_row("memory of the hub, after the warm-up", f"{slope:+.2f} +- {uncertainty:.2f} MB/h")
    table.add_row("  first, last, most", f"{rss['first']:.1f}, {rss['last']:.1f}, {rss['max']:.1f}")
    table.add_row(
        "open files: first, last, most", f"{files['first']}, {files['last']}, {files['max']}"
    )
    publish = result["publish_ms"]
    table.add_row("publish to receipt p50, p99", f"{publish['p50']:.2f}, {publish['p99']:.2f} ms")
    table.add_section()
    for name, each in result["logs"].items():
        table.add_row(
            f"{name}: stored; missing, twice, gaps",
            f"{each['stored']}; {each['missing']}, {each['twice']}, {len(each['gaps'])}",
        )
    table.add_section()
    for name, count in result["faults"].items():
        table.add_row(name, str(count))
    for name, reason in result["faults_skipped"].items():
        table.add_row(name, f"not injected: {reason}")
    console.print(table)
    for line in result["ended_by_themselves"]:
        console.print(line, style="red", highlight=False)
    for line in result["missed"]:
        console.print(f"MISSED: {line}", style="red", highlight=False)
    if result["hours"] < 72:
        console.print("For the whole of it: python -m benchmarks soak --hours 72 --faults")
    show_conditions(result, console)
    show_load(result, console)
