"""The purpose: by option, configuration, the user's file, or a question on a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.recordings.purpose import purpose_of, user_file
from tests.support.daemons import ROOT

CODE = "from edge.recordings.purpose import purpose_of; print('GOT', purpose_of(None, None, ()))"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def asked(answers: bytes, stdout: int | None = None) -> tuple[int, str]:
    """Run the question on a terminal of its own; return exit code and output.

    ``stdout``: a descriptor of standard output instead of the terminal.
    """
    main, terminal = pty.openpty()
    variables = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], cwd=ROOT, env={**os.environ, **variables},
        stdin=terminal, stdout=terminal if stdout is None else stdout, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    os.write(main, answers)
    output = b""
    while True:
        try:
            output += os.read(main, 4096)
        except OSError:  # the process has ended
            break
    os.close(main)
    return process.wait(), output.decode(errors="replace")


def test_an_answer_is_kept_if_wanted(home):
    code, text = asked(b"1\ny\n")
    assert (code, "GOT research-consent" in text) == (0, True)
    assert (home / "affect-edge/recordings.toml").read_text() == 'purpose = "research-consent"\n'
    assert purpose_of(None, None, ()) == "research-consent"


def test_an_answer_is_not_kept_unless_wanted(home):
    assert "GOT medical" in asked(b"medical\n\n")[1]
    assert not (home / "affect-edge").exists()


def test_the_questions_are_not_part_of_the_output(home, tmp_path):
    with (tmp_path / "out").open("wb") as out:
        code, text = asked(b"2\nn\n", out.fileno())
    assert (code, (tmp_path / "out").read_text()) == (0, "GOT medical\n")
    assert "Purpose of these recordings, 1 to 3: " in text
    assert f"Keep it in {home}/affect-edge/recordings.toml? [y/N] " in text


@pytest.mark.parametrize("answer", [b"\xff\n", b"\x04", b"\x1b[31m\n"])
def test_no_answer_is_one_line(home, answer):
    code, text = asked(answer)
    *_, last = text.splitlines()
    assert (code, "ConfigError: " in last, last.isprintable()) == (1, True, True), text


def test_a_wrong_answer(home):
    assert "purpose '9': expected 1 to 3, or one of the names" in asked(b"9\n")[1]


def test_option_and_configuration_win_over_the_file(home, tmp_path):
    path = user_file()
    assert path is not None
    path.parent.mkdir()
    path.write_text('purpose = "medical"\n')
    config = tmp_path / "edge.toml"
    config.write_text('[device]\npurpose = "safety"\n')
    assert purpose_of("research-consent", config, ()) == "research-consent"
    assert purpose_of(None, config, ()) is None
    assert purpose_of(None, None, ['device.purpose="safety"']) is None
    assert purpose_of(None, None, ()) == "medical"


@pytest.mark.parametrize("content", ['purpose = "fun"', "purpose =", "\xff"])
def test_a_damaged_file_is_named(home, content):
    (home / "affect-edge").mkdir()
    (home / "affect-edge/recordings.toml").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"recordings\.toml: ") as raised:
        purpose_of(None, None, ())
    assert "\n" not in str(raised.value)


def test_without_a_terminal_it_is_required():
    with pytest.raises(ConfigError, match=r"not declared; .* by --purpose, or by device") as raised:
        purpose_of(None, None, ())
    assert "Reader" not in str(raised.value)


def test_a_user_without_a_folder_for_it_is_asked(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    code, text = asked(b"1\ny\n")
    assert (code, "GOT research-consent" in text) == (0, True), text
    assert "/dev/null/affect-edge/recordings.toml: not kept: Not a directory" in text
