"""The identity of messages: ``stream``, ``epoch`` and ``seq``, together never used twice.

The stream is a UUID kept in the folder ``journal.path``. Every start raises the epoch by one and
writes it to storage before it sends anything. Without a folder (a demo, a run by hand) each start
is a stream of its own. Messages themselves are not stored yet.
"""

import json
import os
import uuid
from pathlib import Path

from edge.errors import ConfigError
from edge.filelock import lock_file

_NAME = "identity.json"
_EPOCH_MAX = 2**53  # beyond it, readers in other languages lose digits


class StreamIdentity:
    """Identity of this start and numbering of its messages. Only for the hub's main loop.

    Attributes:
        stream: UUID of the stream.
        epoch: number of this start within the stream, from 1.
        last_seq: the newest number; -1 before the first.
        oldest_seq: lowest number that can be fetched again; None: messages are not stored yet.
    """

    oldest_seq: int | None = None

    def __init__(self, stream: str, epoch: int, lock: int | None) -> None:
        self.stream = stream
        self.epoch = epoch
        self.last_seq = -1
        self._lock = lock

    @classmethod
    def open(cls, folder: str) -> "StreamIdentity":
        """Lock ``folder`` and start a new epoch in it; with an empty name, nothing is stored.

        Raises:
            ConfigError: the folder cannot be used or locked, another daemon uses it, or its
                identity file is damaged.
        """
        if not folder:
            return cls(str(uuid.uuid4()), 1, None)
        path = Path(folder)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"journal.path {folder!r}: {error.strerror}; expected a folder this user can write"
            ) from error
        in_use = "in use by another daemon; stop that one or choose another folder"
        try:
            lock_file(lock, name=f"journal.path {folder!r}", in_use=in_use)
            stream, epoch = _start_epoch(path)
        except ConfigError:
            os.close(lock)
            raise
        return cls(stream, epoch, lock)

    def next_seq(self) -> int:
        """Return the number of the next message; no number is returned twice."""
        self.last_seq += 1
        return self.last_seq

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _start_epoch(path: Path) -> tuple[str, int]:
    """Return stream and epoch of this start, after they have been written to storage."""
    stored = path / _NAME
    try:
        known = json.loads(stored.read_bytes())
        stream, epoch = str(uuid.UUID(known["stream"])), known["epoch"] + 1
        if type(epoch) is not int or not 1 <= epoch <= _EPOCH_MAX:
            raise ValueError(f"epoch {known['epoch']!r}")
    except FileNotFoundError:
        stream, epoch = str(uuid.uuid4()), 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # A new stream could hide that the numbers of the old one were lost: the user has to decide.
        raise ConfigError(
            f"{stored}: not the identity of a stream ({error}); move it away to start a new stream"
        ) from error
    fresh = path / (_NAME + ".new")
    try:
        with open(fresh, "w", encoding="ascii", opener=_open_private) as file:
            json.dump({"stream": stream, "epoch": epoch}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, stored)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{fresh}: {error.strerror}; free some space or check the storage"
        ) from error
    return stream, epoch


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
