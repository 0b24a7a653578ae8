"""Files that decide who may scrape the metrics: certificates, keys, and a token."""

import ssl
from pathlib import Path
from typing import Final

from edge.access.token import read_token_file
from edge.config import MetricsConfig
from edge.errors import ConfigError
from edge.files.private import read_small_file
from edge.files.regular import refuse_special

_TOKEN_REMEDY: Final = "make one with: (umask 077; openssl rand -hex 32 > FILE)"


def tls_context(config: MetricsConfig) -> ssl.SSLContext | None:
    """Return what the server needs for TLS; None if ``config`` names no certificate.

    Raises:
        ConfigError: a file is missing, malformed, or a key that others can read.
    """
    if not config.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check_private(config.tls_key)
    try:
        refuse_special(config.tls_certificate)
        # a password would be asked for at the terminal
        context.load_cert_chain(config.tls_certificate, config.tls_key, password="")
    except (OSError, ValueError) as error:
        reason = _reason(error)
        raise ConfigError(
            f"metrics.tls_certificate {config.tls_certificate} and tls_key {config.tls_key}:"
            f" {reason}; expected a certificate and its key without a password, in PEM"
        ) from error
    if config.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            refuse_special(config.tls_client_ca)
            context.load_verify_locations(config.tls_client_ca)
        except OSError as error:
            raise ConfigError(
                f"metrics.tls_client_ca {config.tls_client_ca}: {_reason(error)}; expected the"
                " certificate that signs those of the clients, in PEM"
            ) from error
    return context


def _check_private(path: str) -> None:
    remedy = "expected the key of metrics.tls_certificate, in PEM"
    read_small_file(Path(path), "metrics.tls_key", private=True, remedy=remedy, bytes_max=1 << 16)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def read_token(config: MetricsConfig) -> bytes:
    """Return the word that clients must send; empty if ``config`` names none.

    Raises:
        ConfigError: the file is missing, malformed, or others can read it.
    """
    if not config.token_file:
        return b""
    path = Path(config.token_file)
    return read_token_file(path, "metrics.token_file", remedy=_TOKEN_REMEDY)
