"""The command ``erase``: a session, from a daemon's journal or from a log, with proof."""

from pathlib import Path

from edge.client import log_erase
from edge.descriptors import write_error_line
from edge.errors import EXIT_DONE, EXIT_FAILURE
from edge.tools.output import print_line


def erase_log(log: Path, session: str) -> int:
    """Erase a session from a log; return 0 if nothing of it is left, else 1.

    Raises:
        ConfigError: no such log, or no such session in it.
        LogFileError: the log cannot be changed now.
    """
    write_error_line(f"affect-edge: erasing session {session} from {log}; its file is written anew")
    erased = log_erase.erase(log, session)
    codes = f" and the codes {', '.join(erased.codes)}" if erased.codes else ""
    outside = f", {erased.outside} of them outside of the session" if erased.outside else ""
    print_line(f"erased session {session}{codes}: {erased.messages} messages{outside}")
    print_line(
        f"{erased.hits} hits of {erased.looked_for} texts (its name, note, codes, and the numbers"
        f" of its messages) in the bytes of {log}"
    )
    return EXIT_DONE if erased.hits == 0 else EXIT_FAILURE


def erase(service: str, session: str) -> int:
    """Erase a session from a daemon's journal."""
    raise NotImplementedError
