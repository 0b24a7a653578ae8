"""The error line that a command prints."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.errors import EXIT_CONFIG


def the_error(stderr: str) -> str:
    """Return the only error line; fail on other output and on a second error."""
    lines = stderr.splitlines()
    errors = [line for line in lines if line.startswith("affect-edge: error: ")]
    other = [
        line
        for line in lines
        if line not in errors and not line.startswith(("affect-edge: INFO", "affect-edge: WARNING"))
    ]
    assert not other, f"unexpected output on standard error: {stderr}"
    assert len(errors) == 1, f"expected one error line: {stderr!r}"
    return errors[0]


def refusal(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    capture: pytest.CaptureFixture[str],
) -> str:
    """Return the error line with which ``main`` refuses ``arguments``.

    Fails unless the exit code is 78, standard output is empty and the error is one line.
    """
    code = main(arguments)
    out, err = capture.readouterr()
    assert (code, out) == (EXIT_CONFIG, ""), err
    assert err.count("\n") == 1, err
    return err


def refusal_without_files(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    capture: pytest.CaptureFixture[str],
    folder: Path,
) -> str:
    """Return the one line by which ``main`` refuses ``arguments``; see ``refusal``.

    Fails if ``main`` adds or removes an entry of ``folder``.
    """
    before = sorted(folder.iterdir())
    line = refusal(main, arguments, capture)
    assert sorted(folder.iterdir()) == before
    return line
