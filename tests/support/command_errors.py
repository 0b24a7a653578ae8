"""The one line of error that a command prints."""


def the_error(stderr: str) -> str:
    """Return the one line that says what is wrong; fail on noise and on more than one."""
    lines = stderr.splitlines()
    errors = [line for line in lines if line.startswith("affect-edge: error: ")]
    rest = [
        line
        for line in lines
        if line not in errors and not line.startswith(("affect-edge: INFO", "affect-edge: WARNING"))
    ]
    assert not rest, f"noise on standard error: {stderr}"
    assert len(errors) == 1, f"expected one line of error: {stderr!r}"
    return errors[0]
