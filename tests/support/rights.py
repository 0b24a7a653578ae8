"""Runs a command with a plain user's rights to files, also where the tests run as root."""

import os

_CAPABILITIES = "-dac_override,-dac_read_search"

AS_PLAIN_USER: tuple[str, ...] = (
    ("setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}")
    if os.geteuid() == 0
    else ()
)
"""What to put before a command: the permissions of files then hold for root, too."""
