"""Commands that were started without standard streams, or with few file descriptors."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge.descriptors import printable, write_error_line
from tests.support.daemons import ROOT
from tests.support.waiting import HANG_S

QUIET = (
    *("--set", 'publish.service_endpoint=""', "--set", 'metrics.address=""', "--no-pace"),
    *("--source", "demo"),
)


def run_in_shell(
    command: str, redirection: str, folder: Path, *, limits: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run ``affect-edge command`` from a shell that redirects or closes its standard streams."""
    words = command.replace("{tmp}", str(folder)).split()
    if words[0] == "run":
        words += [*QUIET, "--set", f'publish.endpoint="ipc://{folder}/live"']
    line = shlex.join([sys.executable, "-P", "-m", "edge", *words])
    return subprocess.run(
        ["sh", "-c", f"{limits} exec {line} {redirection.replace('{tmp}', str(folder))}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("version", 0),
        ("--help", 0),
        ("schema", 0),
        ("models list", 0),
        ("check", 0),
        ("tail --connect nowhere", 78),
        ("log --connect nowhere --out {tmp}/log.jsonl", 78),
        ("mark x --service nowhere", 78),
        ("participant list --service nowhere", 78),
        ("run", 0),
    ],
)
def test_closed_standard_streams_change_nothing(
    command: str, code: int, closed: str, tmp_path: Path
) -> None:
    done = run_in_shell(command, closed, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    if "2>" not in closed and code:
        assert len(done.stderr.splitlines()) == 1


def test_with_closed_standard_error_no_worker_is_lost(tmp_path: Path) -> None:
    log = subprocess.Popen(
        [sys.executable, "-P", "-m", "edge", "log", "--connect", f"ipc://{tmp_path}/live",
         "--out", str(tmp_path / "log.jsonl"), "--until-end"],
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with log:
        assert run_in_shell("run --wait-for-subscriber", "2>&-", tmp_path).returncode == 0
        assert log.wait(HANG_S) == 0
    events = re.findall(r'"event":"([a-z_]+)"', (tmp_path / "log.jsonl").read_text())
    assert events == [
        "epoch_started", "worker_started", "file_opened", "source_state", "epoch_ended",
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["version", "schema", "models list", "check"])
def test_a_full_disk_behind_standard_output_is_one_line(command: str, tmp_path: Path) -> None:
    done = run_in_shell(command, ">/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "affect-edge: error: standard output: No space left on device\n"


def test_a_full_disk_behind_standard_error_keeps_the_exit_code(tmp_path: Path) -> None:
    assert run_in_shell("mark x --service nowhere", "2>/dev/full", tmp_path).returncode == 78


@pytest.mark.parametrize("count", [8, 16, 32])
@pytest.mark.parametrize("command", ["run", "tail", "mark x", "demo"])
def test_too_few_descriptors_are_one_line(command: str, count: int, tmp_path: Path) -> None:
    done = run_in_shell(command, "", tmp_path, limits=f"ulimit -n {count};")
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert f"may open {count} files; expected 64 or more" in line


def test_a_soft_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    assert run_in_shell("run", "", tmp_path, limits="ulimit -S -n 16;").returncode == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07a", r"\x1b]0;title\x07a"),
        ("a\nb\r\tc\x9b2J", r"a\nb\r\tc\x9b2J"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\udcff", r"\udcff"),
        ("Zoë 顔 — 'é'\\", "Zoë 顔 — 'é'\\"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_of_an_error_does_not_control_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_error_line("affect-edge: \x1b[2Ja\nb.mp4")
    assert capsys.readouterr().err == "affect-edge: \\x1b[2Ja\\nb.mp4\n"


@pytest.mark.parametrize("command", ["run -c", "analyse --out results"])
def test_an_error_does_not_control_the_terminal(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edge", *command.split(), "\x1b[31mred\x07"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert done.stderr.rstrip("\n").isprintable(), done.stderr
    assert "\\x1b" in done.stderr
