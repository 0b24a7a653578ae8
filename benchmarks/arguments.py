"""Command lines of the benchmarks and the exporters."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from edge.config import Config, load_config
from edge.descriptors import write_error_line
from edge.errors import ConfigError
from edge.validation import refuse_empty

PURPOSE: Final = 'device.purpose="research-consent"'
"""Predictions reach nobody here, so the user need not declare a purpose."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a one-line error instead of exiting."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, none of which may be empty.

        Raises:
            ConfigError: they are wrong.
        """
        arguments = sys.argv[1:] if args is None else args
        refuse_empty(arguments)
        return super().parse_args(arguments, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise ``message``.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(message)


def code_of_end(end: SystemExit, program: str) -> int:
    """Return the exit code of a program that ends early; write a line if a signal ends it.

    Args:
        end: of ``--help``, or as ``exit_on_signal`` raised it.
        program: such as ``benchmarks``.

    Raises:
        SystemExit: ``end``, where it has no exit code.
    """
    if not isinstance(end.code, int):
        raise end
    if end.code > 128:
        write_error_line(f"{program}: interrupted")
    return end.code


def add_result_file(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")


def add_configuration(command: argparse.ArgumentParser) -> None:
    """Add the daemon's options ``--config`` and ``--set``."""
    command.add_argument("-c", "--config", type=Path, metavar="FILE")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")


def configuration_of(arguments: argparse.Namespace, *settings: str) -> Config:
    """Return the configuration by the options of ``add_configuration``, with further settings.

    Raises:
        ConfigError: the configuration is wrong.
    """
    given = [PURPOSE, *arguments.set, *settings]
    return load_config(arguments.config, settings=given, overrides={})


def configuration_words(arguments: argparse.Namespace) -> list[str]:
    """Return the options of ``add_configuration`` as words, for a command that this one starts."""
    words = [] if arguments.config is None else ["-c", str(arguments.config)]
    return [*words, *(word for setting in arguments.set for word in ("--set", setting))]
