"""Who a message is, for ever: ``stream``, ``epoch`` and ``seq``.

The stream is a UUID kept in the journal's folder; the epoch grows by one, durably and before
anything is sent, at every start. Without a folder (a demo, a try by hand) each start is a stream
of its own. The durable journal of the messages themselves will live here as well.
"""

import fcntl
import json
import os
import uuid
from pathlib import Path

from edge.errors import ConfigError

_NAME = "identity.json"
_EPOCH_MAX = 2**53  # beyond it, readers in other languages lose digits


class StreamIdentity:
    """The identity of this start, and the numbering of its messages. For the hub's one loop.

    Attributes:
        stream: UUID of the stream.
        epoch: number of this start within the stream, from 1.
        last_seq: the number given last; -1 before the first.
        oldest_seq: lowest number that can be fetched again; None, as nothing is kept yet.
    """

    oldest_seq: int | None = None

    def __init__(self, stream: str, epoch: int, lock: int | None) -> None:
        self.stream = stream
        self.epoch = epoch
        self.last_seq = -1
        self._lock = lock

    @classmethod
    def open(cls, folder: str) -> "StreamIdentity":
        """Claim ``folder`` and begin a new epoch in it; an empty name keeps nothing.

        Raises:
            ConfigError: the folder cannot be used, another daemon has it, or what is in it is
                not an identity.
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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConfigError(
                f"journal.path {folder!r}: in use by another daemon; stop that one or choose"
                " another folder"
            ) from error
        try:
            stream, epoch = _begun(path)
        except ConfigError:
            os.close(lock)
            raise
        return cls(stream, epoch, lock)

    def next_seq(self) -> int:
        """Return the number of the next message; each is given once."""
        self.last_seq += 1
        return self.last_seq

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _begun(path: Path) -> tuple[str, int]:
    """Return stream and epoch of this start, written down before they are used."""
    identity = path / _NAME
    try:
        known = json.loads(identity.read_bytes())
        stream, epoch = str(uuid.UUID(known["stream"])), known["epoch"] + 1
        if type(epoch) is not int or not 1 <= epoch <= _EPOCH_MAX:
            raise ValueError(f"epoch {known['epoch']!r}")
    except FileNotFoundError:
        stream, epoch = str(uuid.uuid4()), 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # A new stream here could hide that the old one's numbers were lost: let a person decide.
        raise ConfigError(
            f"{identity}: not the identity of a stream ({error}); move it away to begin a new one"
        ) from error
    fresh = path / (_NAME + ".new")
    try:
        with open(fresh, "w", encoding="ascii", opener=_private) as file:
            json.dump({"stream": stream, "epoch": epoch}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, identity)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{fresh}: {error.strerror}; free space or mend the card") from error
    return stream, epoch


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
