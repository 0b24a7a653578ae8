"""The environment that systemd gives to a service, read from its unit file and drop-ins.

A configuration may be complete only with it: a camera's password in an ``EnvironmentFile=``, a
secret key as a credential. Without it ``check`` would refuse what the service accepts.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.errors import ConfigError
from edge.files.regular import open_regular

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
"""Where systemd looks for units, the one that wins first."""

_CREDENTIALS = "/run/credentials/"
_FOLDERS_OF_SPECIFIERS = {"S": "/var/lib", "t": "/run", "C": "/var/cache", "L": "/var/log"}
_NOT_GIVEN = "AFFECT_EDGE__JOURNAL__PATH"
"""A check that runs as root must leave no file in the folder of the service's user."""


def unit_environment(unit: str, folders: Sequence[str | Path] | None = None) -> dict[str, str]:
    """Return the variables of a service, without the folder of its journal.

    A credential is named by the file that it is loaded from, because the copy of systemd exists
    only while the service runs.

    Args:
        unit: name of the service, such as ``affect-edge`` or ``affect-edge@left``; or the path of
            a unit file that is not installed yet, of a template with the instance's name.
        folders: with units and drop-ins, the one that wins first; those of systemd when None.

    Raises:
        ConfigError: there is no such service, or a file of it cannot be read.
    """
    given = Path(unit.removesuffix(".service") + ".service")
    installed = [Path(each) for each in (FOLDERS if folders is None else folders)]
    # beside a unit that is not installed lie drop-ins that are examples
    searched = [given.parent] if "/" in unit else installed
    template, instance = _template(given.name)
    files = [each / name for name in (given.name, template) for each in searched]
    found = next((each for each in files if os.path.isfile(each)), None)  # False for a long name
    if found is None:
        raise ConfigError(
            f"--unit {unit}: no such service in {searched[0]}; expected one that is installed, such"
            " as affect-edge or affect-edge@NAME"
        )
    specifiers = {
        **_FOLDERS_OF_SPECIFIERS, "%": "%", "i": instance, "d": f"{_CREDENTIALS}{given.name}",
        "n": given.name, "N": given.stem,
    }  # fmt: skip
    variables: dict[str, str] = {}
    environment_files: list[str] = []
    credentials: dict[str, str] = {}
    for path in [found, *_drop_ins(dict.fromkeys([template, given.name]), installed)]:
        for key, value in _service_lines(path):
            text = re.sub("%(.)", lambda match: specifiers.get(match[1], match[0]), value)
            match key:
                case "Environment":
                    words = _words(text, path)
                    variables = {**variables, **dict(_pairs(words))} if text else {}
                case "EnvironmentFile":
                    environment_files = [*environment_files, text] if text else []
                case "LoadCredential":
                    name, _, source = text.partition(":")
                    credentials = {**credentials, name: source} if text else {}
    for name in environment_files:
        variables |= _read_environment_file(name)
    variables.pop(_NOT_GIVEN, None)
    start = f"{_CREDENTIALS}{given.name}/"
    return {
        name: credentials.get(value.removeprefix(start), value)
        if value.startswith(start)
        else value
        for name, value in variables.items()
    }


def _template(name: str) -> tuple[str, str]:
    """Return the template's file name and the instance; of a service without one its name."""
    before, at, instance = name.removesuffix(".service").partition("@")
    return f"{before}{at}.service", instance


def _drop_ins(names: dict[str, None], folders: list[Path]) -> list[Path]:
    """Return drop-ins in the order in which systemd reads them: by name, one of each name."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name in reversed(names):
            for path in (folder / f"{name}.d").glob("*.conf"):
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def _read(path: Path) -> str:
    if os.path.realpath(path) == os.devnull:  # a drop-in that is masked
        return ""
    try:
        with open(path, encoding="utf-8", opener=open_regular) as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(
            f"--unit: {path}: {reason}; expected a file that can be read: run check as root"
        ) from error


def _service_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line of the section ``[Service]``."""
    section = ""
    for line in re.sub(r"\\\n\s*", " ", _read(path)).splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[Service]" and not text.startswith(("#", ";")):
            key, _, value = text.partition("=")
            yield key.strip(), value.strip()


def _words(text: str, path: Path) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(
            f"--unit: {path}: Environment=: {error}; expected quotes in pairs"
        ) from error


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


def _read_environment_file(name: str) -> dict[str, str]:
    """Return the variables of a file, by the rules of ``EnvironmentFile=`` in systemd.exec(5)."""
    path = Path(name.removeprefix("-"))
    if name.startswith("-") and not path.exists():
        return {}
    variables = {}
    for line in re.sub(r"\\\n", "", _read(path)).splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            variables[key.strip()] = _unquoted(value.strip())
    return variables


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r'\\(["\\$`])', r"\1", value[1:-1])
    return re.sub(r"\\(.)", r"\1", value)
