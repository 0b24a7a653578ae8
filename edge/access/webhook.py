"""Files that a webhook needs: the token that it sends, and the authority that it trusts."""

import ssl
from pathlib import Path
from typing import Final

from edge.access.token import read_token_file
from edge.config import AlarmsConfig
from edge.errors import ConfigError
from edge.files.regular import refuse_special

_TOKEN_REMEDY: Final = "write the receiver's token into it: (umask 077; cat > FILE)"


def webhook_token(config: AlarmsConfig) -> str:
    """Return the word that is sent as ``Authorization: Bearer WORD``; empty: none.

    Raises:
        ConfigError: the file is missing, malformed, or others can read it.
    """
    if not config.webhook_token_file:
        return ""
    path = Path(config.webhook_token_file)
    return read_token_file(path, "alarms.webhook_token_file", remedy=_TOKEN_REMEDY).decode()


def webhook_tls(config: AlarmsConfig) -> ssl.SSLContext | None:
    """Return how the receiver's certificate is verified; None for an address without TLS.

    Raises:
        ConfigError: the file of the authority is missing or malformed.
    """
    if not config.webhook_url.startswith("https://"):
        return None
    path = config.webhook_ca_file or None
    try:
        if path is not None:
            refuse_special(path)
        context = ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "")
        text = str(reason or "not PEM").lower().replace("_", " ")
        raise ConfigError(
            f"alarms.webhook_ca_file {path}: {text}; expected the certificate that signs the"
            " receiver's, in PEM"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
