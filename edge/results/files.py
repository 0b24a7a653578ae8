"""Files of results: each appears at its path only when it is complete, readable by its owner.

None replaces what it was made from (``check_places``).
"""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from edge.errors import ConfigError, LogFileError
from edge.files.durable import replacing_with_unique_name
from edge.results.analysed import FILES, PLOTS, SESSION, TABLES, tables_suffix

_NO_PLACE: Final = frozenset(
    [
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EISDIR,
        errno.EEXIST,
    ]
)


@contextmanager
def opened_result(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at ``path`` at the end of a ``with`` block.

    Raises:
        ConfigError: nothing can be written there.
        LogFileError: the disk is full or fails.
    """
    try:
        with replacing_with_unique_name(path) as file:
            yield file
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> ConfigError | LogFileError:
    """Return the error of a file or folder that could not be written."""
    text = f"{path}: cannot be written: {error.strerror}"
    if error.errno in _NO_PLACE:
        return ConfigError(f"{text}; name a place where this user may write")
    return LogFileError(f"{text}; make room, or check the disk")


_OWN: Final = frozenset([".html", ".htm", ".pdf", ".csv", ".png", ".svg"])


def check_places(
    record: Path,
    *,
    files: Mapping[str, Path | None],
    plots: Path | None,
    inputs: Mapping[str, Sequence[Path]],
) -> None:
    """Check that no result replaces a file that is read, or one that ``analyse`` made.

    Files are compared as such, so that links to them count, too.

    Args:
        record: a log, or a folder that ``analyse`` made.
        files: to write, by option; None: not wanted.
        plots: folder to write plots into; None: none.
        inputs: files that are read besides the record, by option.

    Raises:
        ConfigError: one of them is such a file; one line.
    """
    known: dict[tuple[int, int], str] = {}
    for option, paths in inputs.items():
        known |= {key: f"the file of {option}" for path in paths if (key := _key(path))}
    known |= {key: f"a file of {record}" for path in _of_record(record) if (key := _key(path))}
    wanted = [(option, path) for option, path in files.items() if path is not None]
    for option, path in wanted:
        if _is_result_of_analysis(path):
            raise _place_taken(option, path, "a result of affect-edge analyse")
        if _is_events(path, record):
            raise _place_taken(option, path, f"the events of {record}")
    if plots is not None:
        real = Path(os.path.realpath(plots))
        if _is_analysis(real) or (real.name == PLOTS and _is_analysis(real.parent)):
            raise ConfigError(
                f"--plots {plots}: holds results of affect-edge analyse; name another folder"
            )
        if record.is_dir() and any(_key(each.parent) == _key(plots) for each in _of_record(record)):
            raise ConfigError(f"--plots {plots}: holds files of {record}; name another folder")
        if plots.is_dir():
            wanted += [("--plots", each) for each in plots.iterdir() if each.suffix in _OWN]
    for option, path in wanted:
        if (key := _key(path)) and key in known:
            raise _place_taken(option, path, known[key])


def _place_taken(option: str, path: Path, what: str) -> ConfigError:
    return ConfigError(f"{option} {path}: would replace {what}; name another file")


def _key(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file, through links; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _of_record(record: Path) -> Iterator[Path]:
    """Return the files of a record; what earlier reports left in its folder is not of them."""
    if not record.is_dir():
        yield record
        return
    for path in record.rglob("*"):
        if path.is_file() and (_is_result_of_analysis(path) or path.suffix.lower() not in _OWN):
            yield path


def _is_events(path: Path, record: Path) -> bool:
    """Return whether ``path`` is, or would be, the events beside a table."""
    wanted = os.path.realpath(path), os.path.realpath(path.parent)
    table = Path(os.path.realpath(record.parent)) / record.name
    begins = f"{table.with_suffix('')}.events."
    return wanted[0].startswith(begins) or f"{wanted[1]}{os.sep}{path.name}".startswith(begins)


def _is_analysis(folder: Path) -> bool:
    return (folder / SESSION).exists() or tables_suffix(folder) is not None


def _is_result_of_analysis(path: Path) -> bool:
    """Return whether a file has the name of a result, and lies in the folder of an analysis."""
    for each in {Path(os.path.realpath(path)), Path(os.path.realpath(path.parent)) / path.name}:
        folder = each.parent
        is_named = each.name in FILES or each.name.split(".", 1)[0] in TABLES
        if is_named and _is_analysis(folder):
            return True
        if folder.name == PLOTS and _is_analysis(folder.parent):
            return True
    return False
