"""The entry point: ``affect-edge`` and ``python -m edge``."""

import sys

from edge.cli import run_command_line


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
