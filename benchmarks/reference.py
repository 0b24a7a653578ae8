"""Reference files: what a board reached before, to be compared with what it reaches now.

``benchmarks/references/BOARD.json`` is a result of ``benchmarks suite`` on that board. A run that
is slower than its reference by more than ``TOLERANCE`` misses it, and so does one that is faster:
then the reference no longer says what the board can do, and is to be made anew.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from edge.errors import ConfigError
from edge.validation import file_errors

FOLDER: Final = Path(__file__).with_name("references")

TOLERANCE: Final = 0.10
"""Share by which a figure may differ: runs on a quiet board differ by a few percent."""

_FIGURES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "pipeline": (("steady", "cpu_ms", "p50"), ("steady", "wall_ms", "p50")),
    "daemon": (("fps",),),
    "daemon, paced": (("latency_ms", "p50"),),
}
"""The compared figures of each mode, by path in the result of a run."""

_HIGHER_IS_FASTER: Final = ("fps",)


def board_slug(board: str) -> str:
    """Return the name of a board as a file name; revisions of a board are one board."""
    plain = re.sub(r"\brev(ision)?\s*[\d.]+", "", board.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "unknown"


def load_reference(named: str, board: str) -> dict[str, Any]:
    """Return a reference file.

    Args:
        named: the file; empty for that of ``board`` in ``FOLDER``.
        board: the name of this board.

    Raises:
        ConfigError: there is none, or it is no valid result of ``suite``.
    """
    path = Path(named) if named else FOLDER / f"{board_slug(board)}.json"
    if not named and not path.is_file():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.json"))) or "none yet"
        raise ConfigError(
            f"--reference: none for {board!r} (there are: {known}); make one with"
            " 'benchmarks suite --json FILE', and name it"
        )
    with file_errors("--reference", path, kind=ConfigError):
        text = path.read_text("utf-8", "replace")
    try:
        reference = json.loads(text)
        is_suite = reference["benchmark"] == "suite" and isinstance(reference["runs"], dict)
    except (ValueError, TypeError, KeyError):
        is_suite = False
    if not is_suite:
        raise ConfigError(f"--reference {path}: expected a result of 'benchmarks suite --json'")
    if reference.get("invalid"):
        raise ConfigError(
            f"--reference {path}: its run was invalid ({reference['invalid'][0]}); expected one of"
            " a quiet board"
        )
    return dict(reference)


def compare_with_reference(
    result: dict[str, Any], reference: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each figure of both, with a verdict: same, slower, faster, or not compared.

    Raises:
        ConfigError: the reference is one of another board.
    """
    for name, ours, theirs in (
        ("board", board_slug(result["board"]), board_slug(str(reference.get("board")))),
        ("cores", result["cores"], reference.get("cores")),
        ("machine", result["machine"], reference.get("machine")),
    ):
        if ours != theirs:
            raise ConfigError(f"--reference: of another {name}, {theirs}; this is {ours}")
    rows = []
    for name, run in result["runs"].items():
        other = reference["runs"].get(name)
        if other is None or "failed" in run or "failed" in other:
            continue
        reason = _not_comparable(run, other)
        for path in _figures(run):
            row: dict[str, Any] = {"run": name, "figure": " ".join(path), "verdict": reason}
            if reason is None:
                value, expected = _at(run, path), _at(other, path)
                change = value / expected - 1
                row |= {"value": value, "expected": expected, "change": change}
                row["verdict"] = _verdict(change, higher_is_faster=path[-1] in _HIGHER_IS_FASTER)
            rows.append(row)
    if not rows:
        raise ConfigError("--reference: has none of these runs")
    return rows


def missed_references(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each figure that is slower, faster, or could not be compared."""
    lines = []
    for row in rows:
        if row["verdict"] == "same":
            continue
        line = f"{row['run']}, {row['figure']}: {row['verdict']}"
        if "value" in row:
            change = f"{100 * row['change']:+.0f} %, at most {100 * TOLERANCE:.0f}"
            line += f" than the reference: {row['value']:.2f}, expected {row['expected']:.2f}"
            line += f" ({change})"
            if row["verdict"] == "faster":
                line += "; if it stays so, make a new reference"
        lines.append(line)
    return lines


def show_reference(result: dict[str, Any], console: Console) -> None:
    """Print the comparison with a reference."""
    table = Table("run", "figure", "now", "reference", "change", "verdict")
    for row in result["against_reference"]:
        values = ["-", "-", "-"]
        if "value" in row:
            change = f"{100 * row['change']:+.1f} %"
            values = [f"{row['value']:.2f}", f"{row['expected']:.2f}", change]
        table.add_row(row["run"], row["figure"], *values, row["verdict"])
    console.print(table)
    console.print(
        f"reference: commit {result['reference']['commit']}, {result['reference']['date']};"
        f" other versions: {result['reference']['other_versions'] or 'none'}",
        highlight=False,
    )


def reference_facts(result: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return commit and date of a reference, and the packages whose versions differ from it."""
    theirs = reference.get("versions", {})
    return {
        "commit": reference.get("commit"),
        "date": reference.get("date"),
        "other_versions": ", ".join(
            f"{name} {theirs.get(name)} then, {version} now"
            for name, version in result["versions"].items()
            if theirs.get(name) != version
        ),
    }


def _not_comparable(run: dict[str, Any], other: dict[str, Any]) -> str | None:
    if run["invalid"]:
        return f"invalid: {run['invalid'][0]}"
    if run["models"] != other.get("models"):
        return "not compared: other networks"
    if run["threads"] != other.get("threads"):
        return "not compared: other numbers of threads"
    if run["command"] != other.get("command"):
        return f"not compared: it was {other.get('command')}"
    return None


def _figures(run: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    return _FIGURES[run["mode"] + (", paced" if run.get("paced") else "")]


def _at(run: dict[str, Any], path: tuple[str, ...]) -> float:
    value: Any = run
    for name in path:
        value = value[name]
    return float(value)


def _verdict(change: float, *, higher_is_faster: bool) -> str:
    """Return same, slower or faster, for a change relative to the reference."""
    ratio = 1 / (1 + change) if higher_is_faster else 1 + change  # of times
    if ratio > 1 + TOLERANCE:
        return "slower"
    return "faster" if ratio < 1 / (1 + TOLERANCE) else "same"
