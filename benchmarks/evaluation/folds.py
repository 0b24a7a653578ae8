"""Translators that were each trained without some people, to evaluate them on those people.

A generator has seen the photographs of the people that it was trained on. So every picture is
translated by the one that did not see its person.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence

from edge.errors import ConfigError

Folds = Mapping[str, str]
"""Person -> name or folder of the translator that was trained without that person."""


def add_folds(command: argparse.ArgumentParser) -> None:
    """Add ``--fold``."""
    command.add_argument(
        "--fold", action="append", default=[], metavar="FOLDER=PEOPLE",
        help="a translator and the people of --labels, as A,B,C, that it was trained without:"
        " it translates their pictures",
    )  # fmt: skip


def parse_folds(words: Sequence[str]) -> Folds:
    """Return the folds of options ``--fold FOLDER=PERSON,PERSON...``; empty if there is none.

    Raises:
        ConfigError: an option has another form, or names a person twice.
    """
    folds: dict[str, str] = {}
    for word in words:
        folder, _, people = word.rpartition("=")
        names = [name.strip() for name in people.split(",")]
        if not folder or not all(names):
            raise ConfigError(
                f"--fold {word}: expected a translator and the people that it was trained without,"
                " such as models/fold-1=3,7,11"
            )
        for name in names:
            if name in folds:
                raise ConfigError(f"--fold {word}: person {name} is named twice; expected once")
            folds[name] = folder
    return folds


def check_folds(folds: Folds, subjects: Iterable[str]) -> None:
    """Check that every person has a translator.

    Raises:
        ConfigError: some have none.
    """
    if missing := sorted(set(subjects) - set(folds)):
        raise ConfigError(
            f"--fold: no translator for {','.join(missing)}; expected one for every person of"
            " --labels"
        )
