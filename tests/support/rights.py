"""Runs a command with the file permissions of a plain user, even if the tests run as root."""

import os

_CAPABILITIES = "-dac_override,-dac_read_search"

AS_PLAIN_USER: tuple[str, ...] = (
    ("setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}")
    if os.geteuid() == 0
    else ()
)
"""Prefix of a command that makes file permissions hold for root, too."""
