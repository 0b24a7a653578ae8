"""Lines on standard output."""

import sys


def print_line(text: str) -> None:
    """Write a line; characters that the terminal lacks are escaped.

    A terminal that cannot show a character must not turn a successful request into a traceback.
    """
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
