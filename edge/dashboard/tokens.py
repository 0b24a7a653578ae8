"""The token that opens the page beyond this machine, and the sessions of browsers that gave it."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from edge.clock import monotonic_ns
from edge.errors import ConfigError
from edge.files.private import read_small_file

_TOKEN_BYTES: Final = 32
_TOKEN_CHARS_MIN: Final = 22  # 128 bits in base64; 32 hexadecimal digits have them, too
_DIFFERENT_MIN: Final = 8
_REMEDY: Final = "make one with: affect-edge dashboard --new-token FILE"

SESSION_S: Final = 12 * 3600
"""A browser has to give the token again after this time."""

_SESSIONS_MAX: Final = 64
_TRIES: Final = 5  # wrong tokens of an address without a delay
_DELAY_S: Final = 1.0  # after that, doubled with each wrong one
_DELAY_MAX_S: Final = 60.0
_ADDRESSES_MAX: Final = 1024
_FORGET_NS: Final = 3600 * 1_000_000_000


def new_token(path: Path) -> None:
    """Write a new token of 256 bits to a file that only its owner can read.

    Raises:
        ConfigError: the file exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"--new-token {path}: {error.strerror}; expected the name of a file that does not"
            " exist yet, in a folder that you may write to"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(_TOKEN_BYTES) + "\n")


def read_token(path: Path) -> bytes:
    """Return the token in a file.

    Raises:
        ConfigError: it cannot be read, others can read it, or it is too easy to guess.
    """
    token = read_small_file(path, "--token-file", private=True, remedy=_REMEDY).strip()
    is_word = all(0x21 <= byte < 0x7F for byte in token)
    is_hex = all(chr(byte) in "0123456789abcdefABCDEF" for byte in token)
    needed = 32 if is_hex else _TOKEN_CHARS_MIN
    if not is_word or len(token) < needed or len(set(token)) < _DIFFERENT_MIN:
        raise ConfigError(
            f"--token-file {path}: expected one random word of 128 bits or more (32 hexadecimal"
            f" digits, or {_TOKEN_CHARS_MIN} letters and digits); {_REMEDY}"
        )
    return token


class Tries:
    """Delays further tries of an address that gave wrong tokens. Not thread-safe."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[int, int]] = {}  # count, and when the next try is allowed

    def wait_s(self, address: str) -> float:
        """Return the seconds until the address may try again; 0: now."""
        _, from_ns = self._wrong.get(address, (0, 0))
        return max(0.0, (from_ns - monotonic_ns()) / 1e9)

    def note_wrong(self, address: str) -> None:
        """Note a wrong token."""
        now_ns = monotonic_ns()
        count, from_ns = self._wrong.pop(address, (0, 0))
        count = 1 if from_ns and now_ns - from_ns > _FORGET_NS else count + 1
        late = count - _TRIES
        delay_s = 0.0 if late < 0 else min(_DELAY_MAX_S, _DELAY_S * 2 ** min(late, 10))
        self._wrong[address] = (count, now_ns + int(delay_s * 1e9))
        if len(self._wrong) > _ADDRESSES_MAX:
            del self._wrong[next(iter(self._wrong))]  # the one that tried longest ago

    def note_right(self, address: str) -> None:
        """Forget the wrong tokens of an address."""
        self._wrong.pop(address, None)


class Sessions:
    """Browsers that gave the token. Not thread-safe.

    Args:
        token: that opens the page; empty: none is needed.
    """

    def __init__(self, token: bytes) -> None:
        self._token = hashlib.sha256(token).digest() if token else b""
        self._until_ns: dict[bytes, int] = {}  # by hash of the session's secret

    @property
    def needs_token(self) -> bool:
        """Whether a token is needed."""
        return bool(self._token)

    def begin(self, token: str) -> str | None:
        """Return the secret of a new session; None if the token is wrong."""
        given = hashlib.sha256(token.strip().encode(errors="replace")).digest()
        if not hmac.compare_digest(given, self._token):
            return None
        secret = secrets.token_urlsafe(_TOKEN_BYTES)
        self._until_ns[_hash(secret)] = monotonic_ns() + SESSION_S * 1_000_000_000
        if len(self._until_ns) > _SESSIONS_MAX:
            del self._until_ns[next(iter(self._until_ns))]  # the oldest
        return secret

    def is_open(self, secret: str | None) -> bool:
        """Return whether ``secret`` is that of a session, or none is needed."""
        if not self._token:
            return True
        # found by its hash, so the time of the look-up tells nothing about the secret
        until_ns = self._until_ns.get(_hash(secret or ""), 0)
        return monotonic_ns() < until_ns

    def end(self, secret: str | None) -> None:
        """End a session."""
        self._until_ns.pop(_hash(secret or ""), None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
