"""The installer and commands that fail: one line says which, and what to do."""

import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import ROOT

_HEAD = (ROOT / "deploy/install.sh").read_text().partition("# ---- arguments")[0]


def _with_head_of_installer(folder: Path, commands: str) -> "subprocess.CompletedProcess[str]":
    """Run commands under what the installer does with those that fail."""
    (folder / "install.sh").write_text(f"{_HEAD}{commands}\necho the end\n")
    return subprocess.run(
        ["bash", folder / "install.sh"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("commands", "line"),
    [
        ("f() { cat /no/such; }; f", "cat /no/such"),
        ("f() { local a; a=$(cat /no/such); }; f", "a=$(cat /no/such)"),
        ("f() { g; }; g() { cat /no/such | sort; }; f", "sort"),
        ("f() { cat </no/such; }; f", "cat < /no/such"),
    ],
)
@pytest.mark.parametrize("is_on_trial", [False, True])
def test_a_command_that_fails_in_a_function_is_named(
    tmp_path: Path, commands: str, line: str, *, is_on_trial: bool
) -> None:
    """The installer ended without a line of its own."""
    done = _with_head_of_installer(
        tmp_path, f"trial={tmp_path if is_on_trial else '/none'}; {commands}"
    )
    assert (done.returncode, done.stdout) == (1, "")
    said = [each for each in done.stderr.splitlines() if each.startswith("install.sh: ")]
    number = len(_HEAD.splitlines()) + 1
    hint = "put right what the lines above say, and run it again"
    hint += ": that, and a restart of the machine, first undo this upgrade" if is_on_trial else ""
    assert said == [f"install.sh: line {number} failed (exit code 1): {line}; {hint}"]


@pytest.mark.parametrize(
    "commands",
    [
        "f() { cat /no/such || true; }; f",
        "f() { cat /no/such; echo; }; if a=$(f); then :; fi",
        "mapfile -t a < <(cat /no/such)",
        "for a in $(cat /no/such); do :; done",
    ],
)
def test_a_command_that_may_fail_is_not_named(tmp_path: Path, commands: str) -> None:
    done = _with_head_of_installer(tmp_path, commands)
    assert (done.returncode, "install.sh" in done.stderr, done.stdout) == (0, False, "the end\n")


def test_an_interruption_is_one_line(tmp_path: Path) -> None:
    done = _with_head_of_installer(tmp_path, "kill -TERM $$")
    line = "install.sh: interrupted; run it again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
