"""Hides everything but scheme, host and port of a camera's address, for messages and logs.

Cameras take a password in any part of their address: ``rtsp://USER:PASSWORD@HOST/``,
``rtsp://HOST/user=USER&password=PASSWORD``, ``http://HOST/video?pwd=PASSWORD``.
"""

import re

# the endpoints of the project's own sockets (tcp, ipc) hold no secrets, and their paths matter
_SCHEME = r"\b(?!(?:tcp|ipc|inproc):)([a-zA-Z][a-zA-Z0-9+.-]*)"
_PUNCTUATION = r"[:;,.)'\"]"
# pathlib makes rtsp:/ of rtsp://, where an address was given as a path
_SLASHES = r"(?://|(?:(?<=rtsp:)|(?<=rtsps:)|(?<=http:)|(?<=https:))/(?!/))"
# not "rtsp://, http://" alone, as in the text of an error
_IN_TEXT = re.compile(
    rf"{_SCHEME}:{_SLASHES}(?!{_PUNCTUATION}+(?:\s|$))(\S+?)({_PUNCTUATION}*)(?=\s|$)"
)
_WHOLE = re.compile(rf"{_SCHEME}:/+(.*)", re.DOTALL)
_WITHOUT_SCHEME = re.compile(r"[^/]*:.*@|(?:pass\w*|pwd)[=:]", re.IGNORECASE | re.DOTALL)
_NUMERIC_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\w:.%]+\])(?::\d{1,5})?")
_HOST = re.compile(rf"[\w.-]+(?::\d{{1,5}})?|{_NUMERIC_HOST.pattern}")


def redact(text: str) -> str:
    """Return a text with every address in it reduced to scheme, host and port.

    An address ends at white space. Applying it twice changes nothing more.
    """
    return _IN_TEXT.sub(lambda match: _shown(match[1], match[2]) + match[3], text)


def redact_address(address: str) -> str:
    """Return one address, which may be wrong, reduced to scheme, host and port.

    Unlike ``redact`` it also hides what follows white space, and passwords where the scheme was
    forgotten; other texts, such as file names, are returned as they are.
    """
    if _WHOLE.search(address):
        return _WHOLE.sub(lambda match: _shown(match[1], match[2]), address)
    secret = _WITHOUT_SCHEME.search(address)
    return address[: secret.start()] + "..." if secret else address


def _shown(scheme: str, rest: str) -> str:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    _, at, host = authority.rpartition("@")
    # with an @ further on, a password may hold the / that ended the host here
    form = _NUMERIC_HOST if "@" in beyond else _HOST
    if not form.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{at and '...@'}{host}{'/...' if beyond.strip('/') else beyond}"
