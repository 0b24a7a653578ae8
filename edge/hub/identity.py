"""The identity of messages: ``stream``, ``epoch`` and ``seq``, together never used twice.

The stream is a UUID kept in the folder ``journal.path``. Every start raises the epoch by one and
writes it to storage before it sends anything. Without a folder (a demo, a run by hand) each start
is a stream of its own.

Where the stored identity is damaged or cannot be written, or was copied from another machine (a
card that was cloned), a new stream begins: its numbers cannot have been used, and the daemon runs
without somebody at hand. Consumers see the new stream.
"""

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError
from edge.files.durable import damaged_name, replace_file
from edge.files.lock import lock_file

_NAME = "identity.json"
_BOARD = Path("/proc/device-tree/serial-number")
_SYSTEM = Path("/etc/machine-id")
EPOCH_MAX = 2**22
"""A stream with more starts is replaced by a new one: the journal packs epoch and number."""


@dataclass(frozen=True, slots=True)
class PreviousStart:
    """The start before this one, of the same stream.

    Attributes:
        epoch: its number.
        boot_id: of the machine's boot in which it ran; empty if unknown.
    """

    epoch: int
    boot_id: str


class StreamIdentity:
    """Identity of this start and numbering of its messages. Only for the hub's main loop.

    Attributes:
        stream: UUID of the stream.
        epoch: number of this start within the stream, from 1.
        last_seq: the newest number; -1 before the first.
        previous: the start before this one; None for the first one of the stream.
        damage: why the stored identity could not be used; empty if there was none or it was good.
        kept: new name of the damaged file.
        storage_error: why the identity could not be written; the stream is not continued then.
    """

    def __init__(
        self, stream: str, epoch: int, lock: int | None, previous: PreviousStart | None = None
    ) -> None:
        self.stream = stream
        self.epoch = epoch
        self.last_seq = -1
        self.previous = previous
        self.damage = self.kept = self.storage_error = ""
        self._lock = lock

    @classmethod
    def open(
        cls, folder: str, is_usable: Callable[[str, PreviousStart | None], bool] | None = None
    ) -> "StreamIdentity":
        """Lock ``folder`` and start a new epoch in it; with an empty name, nothing is stored.

        Args:
            folder: ``journal.path``.
            is_usable: called with the stream and its previous start before the epoch is written;
                returns whether the stream may go on, otherwise a new one begins.

        Raises:
            ConfigError: the folder cannot be used or locked, or another daemon uses it.
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
        except ConfigError:
            os.close(lock)
            raise
        identity = _next_start(path, lock)
        if is_usable is not None and not is_usable(identity.stream, identity.previous):
            fresh = cls(str(uuid.uuid4()), 1, lock)
            fresh.damage, fresh.kept, identity = identity.damage, identity.kept, fresh
        identity._store(path)
        return identity

    def next_seq(self) -> int:
        """Return the number of the next message; no number is returned twice."""
        self.last_seq += 1
        return self.last_seq

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _store(self, path: Path) -> None:
        """Write the identity to storage, or else begin a stream that is not continued."""
        content = {"stream": self.stream, "epoch": self.epoch, "boot_id": boot_id()}
        data = json.dumps(content | _machine()).encode("ascii")
        try:
            _write(path / _NAME, data)
        except OSError as error:
            self.storage_error = f"{path / _NAME}: {error.strerror}"
            self.stream, self.epoch, self.previous = str(uuid.uuid4()), 1, None


def boot_id() -> str:
    """Return the id of the machine's boot; empty where the kernel does not give one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


class _OtherMachine(ValueError):
    """The identity was stored on another machine."""


def _machine() -> dict[str, str]:
    """Return what identifies this machine, as far as it is known: hashes, which tell nothing."""
    found = {}
    for name, path in (("board", _BOARD), ("system", _SYSTEM)):
        with contextlib.suppress(OSError):
            if text := path.read_bytes().strip(b"\0\n "):
                found[name] = hashlib.sha256(b"affect-edge " + text).hexdigest()[:16]
    return found


def _require_this_machine(known: dict[str, object]) -> None:
    """Raise _OtherMachine for a copy; cards are cloned with ``machine-id``, so the board decides.

    A container may hide either; what one side does not know is not compared.
    """
    here = _machine()
    for name in ("board", "system"):
        if name in here and name in known:
            if here[name] == known[name]:
                return
            raise _OtherMachine(
                "was copied from another machine, whose messages have the same stream"
            )


def _next_start(path: Path, lock: int) -> StreamIdentity:
    """Return stream and epoch of this start; a damaged file is renamed and kept."""
    stored, damage, kept = path / _NAME, "", ""
    try:
        known = json.loads(stored.read_bytes())
        stream, previous = str(uuid.UUID(known["stream"])), known["epoch"]
        if type(previous) is not int or not 1 <= previous < EPOCH_MAX:
            raise ValueError(f"epoch {previous!r}")
        _require_this_machine(known)
        boot = known.get("boot_id")
        before = PreviousStart(previous, boot if isinstance(boot, str) else "")
        return StreamIdentity(stream, previous + 1, lock, before)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fresh = damaged_name(stored)
        kept = fresh.name
        with contextlib.suppress(OSError):
            stored.rename(fresh)
        is_copy = isinstance(error, _OtherMachine)
        damage = str(error) if is_copy else f"not the identity of a stream ({error})"
    identity = StreamIdentity(str(uuid.uuid4()), 1, lock)
    identity.damage, identity.kept = damage, kept
    return identity


def _write(stored: Path, data: bytes) -> None:
    """Replace the file, durably. On a full disk, overwrite it: that needs no space."""
    try:
        replace_file(stored, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not stored.exists():
            raise
        with open(stored, "r+b") as file:
            file.write(data.ljust(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
