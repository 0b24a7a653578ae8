"""Key files of CURVE, ZeroMQ's encryption and authentication, in pyzmq's certificate format.

A key pair NAME is two files: ``NAME.key`` holds the public key, for the other side;
``NAME.key_secret`` holds both keys and never leaves its owner. Files are parsed strictly: whatever
is not understood is an error, because a key that is silently left out, or a list of keys that is
silently shorter, is a fault of security.
"""

import contextlib
import hashlib
import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from edge.errors import ConfigError
from edge.files.private import read_small_file

PUBLIC_SUFFIX: Final = ".key"
SECRET_SUFFIX: Final = ".key_secret"

NAME_FORM: Final = "letters, digits, - and _, at most 32, beginning with a letter or digit"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_LINE: Final = re.compile(r'    (public|secret)-key = "([^"]*)"')
_REMEDY: Final = "make a pair with: affect-edge keys new NAME"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key, and the secret key where the file holds one; both as 40 characters of Z85.

    Attributes:
        name: the file's name without its suffix.
        public: the public key.
        secret: the secret key; None from a public file. Not part of ``repr``.
    """

    name: str
    public: str
    secret: str | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits by which people compare public keys."""
        return fingerprint(self.public)


def fingerprint(public: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a public key (in Z85)."""
    digits = hashlib.sha256(z85.decode(public.encode())).hexdigest()[:16]
    return " ".join(digits[start : start + 4] for start in range(0, 16, 4))


def require_curve() -> None:
    """Check that this libzmq supports CURVE.

    Raises:
        ConfigError: it does not.
    """
    if not zmq.has("curve"):
        raise ConfigError(
            f"keys: libzmq {zmq.zmq_version()} of this installation has no CURVE; expected one with"
            " it: install pyzmq from its wheel (pip install --only-binary :all: pyzmq)"
        )


def check_name(name: str) -> str:
    """Return ``name`` if it may name a key.

    Raises:
        ConfigError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name of a key {name!r}: expected {NAME_FORM}")
    return name


def read_public(path: Path, what: str) -> KeyPair:
    """Read a public key file.

    Args:
        path: ``NAME.key``.
        what: the configuration key or option that names it, for the error message.

    Raises:
        ConfigError: it cannot be read, is malformed, or holds a secret key.
    """
    if path.name.endswith(SECRET_SUFFIX):
        raise ConfigError(f"{what} {path}: a secret key; expected the public file NAME.key")
    name, keys = _read(path, what, PUBLIC_SUFFIX)
    if "secret" in keys:
        raise ConfigError(
            f"{what} {path}: holds a secret key; expected the public file of the pair: a secret"
            " key that was copied is no secret, so make a new pair"
        )
    return KeyPair(name, keys["public"])


def read_secret(path: Path, what: str) -> KeyPair:
    """Read a secret key file, which nobody but its owner may read.

    Args:
        path: ``NAME.key_secret``.
        what: as in ``read_public``.

    Raises:
        ConfigError: it cannot be read, is malformed, can be read by others, or its two keys, or
            it and ``NAME.key`` in the same folder, do not belong together.
    """
    require_curve()
    name, keys = _read(path, what, SECRET_SUFFIX, private=True)
    if "secret" not in keys:
        raise ConfigError(f"{what} {path}: holds no secret key; expected NAME{SECRET_SUFFIX}")
    if zmq.curve_public(keys["secret"].encode()).decode() != keys["public"]:
        raise ConfigError(
            f"{what} {path}: its public key does not belong to its secret key; {_REMEDY}"
        )
    sibling = path.parent / f"{name}{PUBLIC_SUFFIX}"
    if sibling.exists() and read_public(sibling, what).public != keys["public"]:
        raise ConfigError(
            f"{what} {path}: {sibling.name} in the same folder is the public key of another pair;"
            " move one of them away"
        )
    return KeyPair(name, keys["public"], keys["secret"])


def read_folder(folder: Path, what: str, own: KeyPair | None = None) -> Mapping[str, str]:
    """Read every public key of a folder; files with other suffixes are left alone.

    Args:
        folder: with one ``NAME.key`` per client.
        what: as in ``read_public``.
        own: the daemon's pair, which is no client's.

    Returns:
        Name by public key (Z85); at least one.

    Raises:
        ConfigError: the folder cannot be read or has no key, every user may write to it, a key file
            is bad, or two files hold the same key, or one that of ``own``.
    """
    try:
        mode = folder.stat().st_mode
        paths = sorted(each for each in folder.iterdir() if each.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise ConfigError(
            f"{what} {folder}: {error.strerror}; expected a folder with the public key NAME.key of"
            " each client"
        ) from error
    if mode & 0o002:
        raise ConfigError(
            f"{what} {folder}: every user may put keys in it (mode {stat.S_IMODE(mode):04o}); run"
            f" chmod o-w {folder}, and remove keys that you do not know"
        )
    if not paths:
        raise ConfigError(
            f"{what} {folder}: no key in it, so that nobody could connect; expected the public key"
            " NAME.key of each client"
        )
    names: dict[str, str] = {}
    for path in paths:
        pair = read_public(path, what)
        if own is not None and pair.public == own.public:
            raise ConfigError(
                f"{what} {path}: the daemon's own key; expected the public key of a client, made"
                " there with: affect-edge keys new NAME"
            )
        if pair.public in names:
            raise ConfigError(
                f"{what} {path}: the same key as {names[pair.public]}{PUBLIC_SUFFIX}; expected a"
                " pair of its own for each client"
            )
        names[pair.public] = pair.name
    return names


def new_pair(name: str, folder: Path) -> tuple[Path, Path, str]:
    """Make a key pair and write its two files; never overwrite one.

    Args:
        name: of the pair.
        folder: an existing folder.

    Returns:
        The public file (mode 0644), the secret file (mode 0600), and the fingerprint.

    Raises:
        ConfigError: the name is wrong, a file of the pair exists, or it cannot be written.
    """
    require_curve()
    check_name(name)
    public_path = folder / f"{name}{PUBLIC_SUFFIX}"
    secret_path = folder / f"{name}{SECRET_SUFFIX}"
    public, secret = (key.decode() for key in zmq.curve_keypair())
    head = "#   CURVE key of affect-edge, in pyzmq's certificate format\n\nmetadata\ncurve\n"
    public_line = f'    public-key = "{public}"\n'
    _write(public_path, f"{head}{public_line}", 0o644)
    try:
        _write(secret_path, f'{head}{public_line}    secret-key = "{secret}"\n', 0o600)
    except ConfigError:
        public_path.unlink()
        raise
    return public_path, secret_path, fingerprint(public)


def _write(path: Path, text: str, mode: int) -> None:
    try:
        # 0600 from the first moment on; O_EXCL also refuses a link that somebody placed there
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            f"{path}: exists, and keys are never overwritten; choose another name, or move it away"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a folder to write to") from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise ConfigError(f"{path}: {error.strerror}") from error


def _read(
    path: Path, what: str, suffix: str, *, private: bool = False
) -> tuple[str, dict[str, str]]:
    """Return the name of a key file, and its keys by kind: ``public``, and maybe ``secret``."""
    name = path.name.removesuffix(suffix)
    if suffix == PUBLIC_SUFFIX and not _NAME.fullmatch(name):
        raise ConfigError(f"{what} {path}: name {name!r}: expected {NAME_FORM}")
    content = read_small_file(path, what, private=private, remedy=_REMEDY)
    malformed = f"{what} {path}: not a key file"
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{malformed}: not text; {_REMEDY}") from error
    keys: dict[str, str] = {}
    section = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line.startswith(" "):
            section = line.rstrip()
        elif section == "curve":
            match = _LINE.fullmatch(line.rstrip())
            if not match or match[1] in keys or not _is_key(match[2]):
                raise ConfigError(f"{malformed}: line {number} is malformed; {_REMEDY}")
            keys[match[1]] = match[2]
        if section not in ("metadata", "curve"):
            raise ConfigError(f"{malformed}: line {number} is malformed; {_REMEDY}")
    if "public" not in keys:
        raise ConfigError(f"{malformed}: no public key in it; {_REMEDY}")
    return name, keys


def _is_key(text: str) -> bool:
    """Return whether ``text`` is a key of 32 bytes in Z85, and not all zeros."""
    if len(text) != 40 or not all(char in z85.Z85CHARS.decode() for char in text):
        return False
    try:
        raw = bytes(z85.decode(text.encode()))
    except struct.error:  # more than 32 bits in five characters
        return False
    return any(raw) and z85.encode(raw).decode() == text
