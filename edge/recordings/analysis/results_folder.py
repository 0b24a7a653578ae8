"""The folder of one recording's results: it appears when it is complete, or not at all."""

import contextlib
import ctypes
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError
from edge.files.durable import replace_file, sync_folder
from edge.files.lock import lock_file

SESSION: Final = "session.json"
"""Written last; a folder without it holds no results."""

_PART: Final = ".part"
_OLD: Final = ".old"
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

    It replaces one that is there. If the block fails, the new folder is removed.

    Raises:
        OSError: it cannot be made.
    """
    part = out / f".{name}.{os.getpid()}-{secrets.token_hex(4)}{_PART}"
    part.mkdir(mode=0o700)
    try:
        yield part
        for folder, _, _ in os.walk(part):
            sync_folder(Path(folder))
        _publish(part, out / name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
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
    except (OSError, ValueError, RecursionError):
        session = None
    if not isinstance(session, dict) or "analysis" not in session:
        raise ConfigError(
            f"{folder}: exists, and holds no results of an analysis; choose another --out folder"
        )
    return session


def _publish(part: Path, final: Path) -> None:
    """Rename ``part`` to ``final``; a folder that is there is replaced in one step."""
    try:
        os.rename(part, final)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(part), os.fsencode(final)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        shutil.rmtree(part)
        return
    # network file systems cannot exchange two names: a kill in between is undone by ``_clean``
    old = final.with_name(f".{final.name}{_OLD}")
    os.rename(final, old)
    os.rename(part, final)
    shutil.rmtree(old)


def _clean(out: Path) -> None:
    with contextlib.suppress(OSError):
        for path in out.iterdir():
            if not path.name.startswith(".") or not path.is_dir():
                continue
            if path.name.endswith(_OLD):
                final = path.with_name(path.name[1:].removesuffix(_OLD))
                if final.exists():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.rename(final)
            elif path.name.endswith(_PART):
                shutil.rmtree(path, ignore_errors=True)
