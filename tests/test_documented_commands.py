"""Commands in the documents: they exist, and take the options that they are shown with."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import benchmarks.cli as benchmarks_command
import exporters.cli as exporters_command
from edge import cli
from tests.support.daemons import ROOT
from tests.test_documents import PAGES

_COMMAND = re.compile(
    r"(affect-edge|-m benchmarks|-m exporters) ([a-z][a-z-]*(?![\w-])(?: [a-z]+)?)([^|;&#]*)"
)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def of_typer(command: Any, words: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the words of a command with its options, and those of the commands below it."""
    yield words, {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for word, below in getattr(command, "commands", {}).items():
        yield from of_typer(below, f"{words} {word}")


def of_argparse(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the same of a parser and of those below it."""
    yield words, set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from of_argparse(below, f"{words} {word}")


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The options of each command, by its words."""
    found = dict(of_typer(typer.main.get_command(cli.app), "affect-edge"))
    found |= of_argparse(benchmarks_command._parser(), "-m benchmarks")
    found |= of_argparse(exporters_command._parser(), "-m exporters")
    for words in ("suite", "cost"):
        found[f"affect-edge bench {words}"] = found[f"-m benchmarks {words}"]
    return found | {"affect-edge bench": found["-m benchmarks fps"]}


def commands(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield program, next one or two words, and the rest, of each command in the code of a page."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.S)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for line in (*"\n".join(blocks).splitlines(), *(" ".join(each.split()) for each in spans)):
        yield from _COMMAND.findall(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_their_options(page: Path, known: dict[str, set[str]]) -> None:
    wrong = []
    for program, words, rest in commands(page):
        two, one = f"{program} {words}", f"{program} {words.partition(' ')[0]}"
        options = known.get(two, known.get(one))
        shown = f"{program} {words}{rest}"
        if options is None:
            wrong.append(shown)
        else:
            wrong += [f"{each}: {shown}" for each in _OPTION.findall(rest) if each not in options]
    assert not wrong


def test_commands_are_found() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 200
