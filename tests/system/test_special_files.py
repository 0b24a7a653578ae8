"""A named pipe or a device, where a file is expected, is refused in one line: it never ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.waiting import HANG_S

_PROGRAM = """
import contextlib, io, json, resource, sys
from edge.cli import run_command_line
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run_command_line(words)
    print(json.dumps([code, errors.getvalue()]), flush=True)
"""
"""Runs commands one after the other: a program of its own for each would take most of the time."""

_CLIP: Final = str(DEMO_CLIP)
_PURPOSE: Final = ("--purpose", "safety")
_FORWARD: Final = ("forward", "--to", "mqtts://user@127.0.0.1:1")
_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "edge.toml": ("check", "-c", "FILE"),
    "run.toml": ("run", "--source", "demo", "-c", "FILE"),
    "key": ("tail", "--secret-key", "FILE", "--server-key", "FILE"),
    "log.sqlite": ("log", "--out", "FILE", "--once"),
    "log.csv": ("log", "--out", "FILE", "--once"),
    "log.jsonl": ("log", "--out", "FILE", "--once"),
    "state": (*_FORWARD, "--state", "FILE"),
    "ca": (*_FORWARD, "--state", "none", "--ca", "FILE"),
    "password": (*_FORWARD, "--state", "none", "--password-file", "FILE"),
    "record.sqlite": ("report", "FILE", "--out", "page.html"),
    "record.csv": ("report", "FILE", "--out", "page.html"),
    "record.jsonl": ("report", "FILE", "--out", "page.html"),
    "record.parquet": ("report", "FILE", "--out", "page.html"),
    "marks": ("report", "record.csv", "--out", "page.html", "--marks", "FILE"),
    "sensor": ("report", "record.csv", "--out", "page.html", "--join", "FILE"),
    "page.html": ("report", "record.csv", "--out", "FILE"),
    "summary.csv": ("report", "record.csv", "--out", "page.html", "--summary", "FILE"),
    "export": ("export-log", "FILE", "--to", "table.csv"),
    "table.csv": ("export-log", "record.sqlite", "--to", "FILE"),
    "codes.sqlite": ("participant", "list", "--log", "FILE"),
    "erased.sqlite": ("erase", "--session", "one", "--log", "FILE"),
    "erased.csv": ("erase", "--session", "one", "--log", "FILE"),
    "visit.mp4": ("analyse", "FILE", "--out", "results", *_PURPOSE),
    "participants": ("analyse", _CLIP, "--out", "out", "--participants", "FILE", *_PURPOSE),
    "annotated.mp4": ("annotate", _CLIP, "FILE", "--force", *_PURPOSE),
    "from.jsonl": ("annotate", _CLIP, "new.mp4", "--from", "FILE"),
    "result": ("bench", "--json", "FILE"),
    "reference": ("bench", "suite", "--reference", "FILE"),
}
"""Commands by the name of the file that is no regular one."""


class _Refusals(NamedTuple):
    """How the commands ended, by kind of file and name: exit code, and what they wrote."""

    of: dict[tuple[str, str], tuple[int, str]]
    folder: Path


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> _Refusals:
    folder = tmp_path_factory.mktemp("special")
    for name in ("record.csv", "record.sqlite"):
        (folder / name).touch()
    cases = {}
    for kind in ("pipe", "device"):
        (folder / kind).mkdir()
        for name, words in _COMMANDS.items():
            path = folder / kind / name
            if kind == "pipe":
                os.mkfifo(path, 0o600)
            else:
                path.symlink_to("/dev/zero")
            cases[kind, name] = [str(path) if word == "FILE" else word for word in words]
    try:
        output = subprocess.run(
            [sys.executable, "-c", _PROGRAM, json.dumps(list(cases.values()))],
            stdout=subprocess.PIPE, timeout=3 * HANG_S, cwd=folder, check=False,
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired as error:  # the command after the last line hangs
        output = error.stdout or b""
    ends = [json.loads(line) for line in output.splitlines()]
    return _Refusals(dict(zip(cases, ends, strict=False)), folder)


@pytest.mark.timeout(5 * HANG_S)
@pytest.mark.parametrize("name", _COMMANDS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_it_is_refused_in_one_line(refusals: _Refusals, kind: str, name: str) -> None:
    """Some waited for ever, some read until the system had no memory left, some replaced it."""
    code, text = refusals.of[kind, name]
    path = refusals.folder / kind / name
    (error,) = [line for line in text.splitlines() if ": error: " in line]
    assert (code, text.splitlines()[-1]) == (78, error), text
    assert str(path) in error
    assert path.is_fifo() if kind == "pipe" else path.readlink() == Path("/dev/zero")
