"""The folder of one recording's results: it appears when it is complete, or not at all.

It is made within a temporary folder of the folder of all results, and takes the place of an
earlier one in one step. Files that this program did not write belong to the user: they are in the
new folder as they were in the old one, also after a kill at any moment.

====================================  ==========================================================
in ``.results.PID-HEX.affect-edge.part``
====================================  ==========================================================
``affect-edge.owner``                 the name of the recording's folder, JSON; a folder without
                                      it is not touched
``new``                               the results while they are made; after the exchange, the
                                      earlier ones
``old``                               the earlier ones, where two names cannot be exchanged
====================================  ==========================================================
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError
from edge.files.durable import replace_file, sync_folder
from edge.files.lock import lock_file
from edge.files.regular import open_regular
from edge.results.analysed import FILES, PLOT, PLOTS, SESSION

_PLOT_NAME_MAX: Final = 40  # bytes, while it is written
_PART: Final = re.compile(r"\.results\.[0-9]+-[0-9a-f]{8}\.affect-edge\.part")
_OWNER: Final = "affect-edge.owner"
_OWNER_BYTES_MAX: Final = 4096
_LOCK: Final = ".analyse.lock"
_AT_FDCWD: Final = -100  # renameat2(2)
_RENAME_EXCHANGE: Final = 2
_SESSION_BYTES_MAX: Final = 64 << 20


@contextmanager
def locked_out(out: Path) -> Iterator[None]:
    """Make the folder of all results and lock it for a ``with`` block.

    What an analysis has left that was killed, or is interrupted in the block, is removed.

    Raises:
        ConfigError: it cannot be made or written, or another analysis writes to it.
    """
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(out / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not os.access(out, os.W_OK | os.X_OK):  # the lock may be there from before
            os.close(descriptor)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(
            f"--out {out}: {error.strerror}; expected a folder in which this user may write"
        ) from error
    try:
        lock_file(descriptor, name=f"--out {out}", in_use="another analysis writes to it")
        _clean(out)
        try:
            yield
        finally:
            _clean(out)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(out: Path, name: str) -> Iterator[Path]:
    """Make a folder that becomes ``out/name`` at the end of a ``with`` block.

    It replaces one that is there; the files in it that are the user's stay. If the block fails, the
    new folder is removed.

    Raises:
        OSError: it cannot be made.
        ConfigError: the name is too long, or the folder that is there holds no results.
    """
    final = out / name
    _require_short(final)
    part = out / f".results.{os.getpid()}-{secrets.token_hex(4)}.affect-edge.part"
    part.mkdir(mode=0o700)
    try:
        _write_owner(part, name)
        new = part / "new"
        new.mkdir(mode=0o700)
        yield new
        for folder, _, _ in os.walk(new):
            sync_folder(Path(folder))
        _publish(new, final)
    finally:
        _end(part)
    sync_folder(out)


def write_session(folder: Path, session: dict[str, Any]) -> None:
    """Write ``session.json``.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(session, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / SESSION, f"{text}\n".encode("utf-8", "backslashreplace"))


def read_session(folder: Path) -> dict[str, Any] | None:
    """Return ``session.json`` of a folder of results; None if there is no folder.

    Raises:
        ConfigError: the folder holds something else.
    """
    if not os.path.lexists(folder):
        return None
    try:
        with open(folder / SESSION, "rb") as file:
            session = json.loads(file.read(_SESSION_BYTES_MAX))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        session = None
    except OSError as error:
        raise ConfigError(f"{folder / SESSION}: cannot be read: {error.strerror}") from error
    if not isinstance(session, dict) or "analysis" not in session:
        raise ConfigError(
            f"{folder}: exists, and holds no results of an analysis; choose another --out folder"
        )
    return session


def _require_short(final: Path) -> None:
    """Raise ``ConfigError`` if the name of a recording is too long for a folder of results."""
    try:
        (final / PLOTS / ("-" * _PLOT_NAME_MAX)).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(
                f"{final}: is too long as a name of a folder of results; rename the recording, or"
                " choose another --out"
            ) from error


def _publish(new: Path, final: Path) -> None:
    """Rename ``new`` to ``final``; a folder of results that is there is replaced in one step.

    Raises:
        ConfigError: the folder that is there holds something else.
    """
    try:
        os.rename(new, final)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    read_session(final)
    for path in _not_ours(final):  # links: a file that is an input of others is never away
        with contextlib.suppress(OSError):
            os.link(path, new / path.relative_to(final), follow_symlinks=False)
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(new), os.fsencode(final)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    # network file systems cannot exchange two names: a kill in between is undone by ``_end``
    os.rename(final, new.with_name("old"))
    os.rename(new, final)


def _clean(out: Path) -> None:
    """Remove the temporary folders that analyses have left, and nothing else."""
    with contextlib.suppress(OSError):
        for path in out.iterdir():
            if _PART.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                _end(path)


def _end(part: Path) -> None:
    """Remove a temporary folder; what is the user's goes to the folder of results before.

    What cannot be done is left as it is, for the next run.
    """
    with contextlib.suppress(OSError):
        name = _read_owner(part)
        if name is None:
            if set(os.listdir(part)) <= {_OWNER}:  # killed before it was used
                (part / _OWNER).unlink(missing_ok=True)
                part.rmdir()
            return
        final, new, old = part.parent / name, part / "new", part / "old"
        if old.is_dir():
            if os.path.lexists(final):
                _give_back(old, final)
            else:
                os.rename(old, final)
        if (new / SESSION).exists():  # complete: it may be the earlier one
            _give_back(new, final)
        if new.is_dir():
            shutil.rmtree(new)
        (part / _OWNER).unlink()
        part.rmdir()


def _give_back(folder: Path, final: Path) -> None:
    """Move what is the user's from a folder of results to ``final``, and remove the rest.

    Raises:
        OSError: that is not possible; nothing of the user's is lost.
    """
    kept = _not_ours(folder)
    if kept and not os.path.lexists(final):
        os.rename(folder, final)
        return
    for path in kept:
        to = final / path.relative_to(folder)
        if os.path.lexists(to) and os.path.samestat(path.lstat(), to.lstat()):
            continue
        to.parent.mkdir(mode=0o700, exist_ok=True)
        os.rename(path, _free_name(to))
        sync_folder(to.parent)
    shutil.rmtree(folder)


def _not_ours(folder: Path) -> list[Path]:
    """Return what this program did not write in a folder of results."""
    found: list[Path] = []
    for path in folder.iterdir():
        is_folder = path.is_dir() and not path.is_symlink()
        if path.name == PLOTS and is_folder:
            found += [each for each in path.iterdir() if not PLOT.fullmatch(each.name)]
        elif path.name not in FILES or is_folder:
            found.append(path)
    return found


def _free_name(path: Path) -> Path:
    """Return ``path``, or the first free name ``NAME.old-N``."""
    free, number = path, 1
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}.old-{number}"), number + 1
    return free


def _write_owner(part: Path, name: str) -> None:
    with open(part / _OWNER, "xb", opener=open_regular) as file:
        file.write(json.dumps({"folder": name}).encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(part)


def _read_owner(part: Path) -> str | None:
    """Return the name of the folder of results; None: the temporary folder is not one of ours."""
    try:
        with open(part / _OWNER, "rb") as file:
            name = json.loads(file.read(_OWNER_BYTES_MAX))["folder"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_name = isinstance(name, str) and name not in ("", ".", "..") and "/" not in name
    return name if is_name else None
