"""Prints what pyproject.toml requires, one requirement a line: the daemon's, and those of extras.

Usage: python scripts/requirements.py EXTRA...
"""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main(extras: list[str]) -> None:
    """Print the requirements of the daemon and of ``extras``."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    known = project["optional-dependencies"]
    if unknown := set(extras) - set(known):
        raise SystemExit(
            f"{', '.join(sorted(unknown))}: no such extra; expected {', '.join(known)}"
        )
    print(*project["dependencies"], *(line for name in extras for line in known[name]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
