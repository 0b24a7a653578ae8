"""The part of ``affect-edge check`` about secrets: who may connect, and which files are wrong."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.access.keys import SECRET_SUFFIX, read_folder, read_secret
from edge.access.metrics import read_token, tls_context
from edge.access.webhook import webhook_tls, webhook_token
from edge.check.machine import Line
from edge.config import Config, is_loopback, redact
from edge.errors import ConfigError


def security_lines(config: Config) -> Iterator[Line]:
    """Yield a line for each group of files that the configuration names."""
    if config.security.is_on:
        yield _checked("security.secret_key", lambda: _own_key(config))
        folder = Path(config.security.allowed_keys)
        yield _checked("security.allowed_keys", lambda: _allowed(config, folder))
        yield from _operators(config, folder)
        for path in sorted(folder.glob(f"*{SECRET_SUFFIX}")):
            text = "a secret key; expected only public keys here: move it to its client"
            yield "WARN", f"security.allowed_keys {path}: {text}"
    else:
        yield "ok", "security: no keys; only programs on this machine can connect"
    metrics = config.metrics
    if metrics.address and (metrics.tls_certificate or metrics.token_file):
        yield _checked("metrics", lambda: _metrics(config))
    if config.alarms.webhook_url:
        yield _checked("alarms.webhook_url", lambda: _webhook(config))


def _checked(subject: str, describe: Callable[[], str]) -> Line:
    try:
        return "ok", f"{subject}: {describe()}"
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            return "WARN", f"{error}: or run check as the user who will run the daemon"
        return "WRONG", str(error)


def _own_key(config: Config) -> str:
    pair = read_secret(Path(config.security.secret_key), "security.secret_key")
    return f"{pair.name}, fingerprint {pair.fingerprint}"


def _allowed(config: Config, folder: Path) -> str:
    own = None
    with contextlib.suppress(ConfigError):  # reported with security.secret_key
        own = read_secret(Path(config.security.secret_key), "security.secret_key")
    names = sorted(read_folder(folder, "security.allowed_keys", own).values())
    return f"{len(names)} may connect: {', '.join(names)}"


def _operators(config: Config, folder: Path) -> Iterator[Line]:
    """Yield who may change the record, and the names without a key."""
    operators = config.security.operators
    if operators == "all":
        return
    with contextlib.suppress(ConfigError):  # reported with security.allowed_keys
        names = read_folder(folder, "security.allowed_keys").values()
        if missing := sorted(set(operators) - set(names)):
            text = f"no key of {', '.join(missing)} in {folder}; expected names of keys there"
            yield "WARN", f"security.operators: {text}"
    may = ", ".join(operators) or "nobody"
    yield "ok", f"security.operators: {may} may change the record, the others only read"


def _metrics(config: Config) -> str:
    tls, token = tls_context(config.metrics), read_token(config.metrics)
    asks = [
        *(["a certificate of the client"] if config.metrics.tls_client_ca else []),
        *(["a token"] if token else []),
    ]
    where = "this machine" if is_loopback(config.metrics.address) else "the network"
    return f"for {where}, {'TLS' if tls else 'plain'}, asks for {' and '.join(asks) or 'nothing'}"


def _webhook(config: Config) -> str:
    """Describe it without contacting it; the receiver's certificate is verified by ``run``."""
    tls, token = webhook_tls(config.alarms), webhook_token(config.alarms)
    how = f"{'TLS' if tls else 'plain'}, {'with a token' if token else 'without a token'}"
    return f"{redact(config.alarms.webhook_url)}, {how}"
