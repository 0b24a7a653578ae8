"""A daemon of a command's own: it stores nothing, and ends with the command."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.child import child_environment

_NOTHING_STORED = (
    'journal.path=""',
    'security.secret_key=""',
    'security.allowed_keys=""',
    'security.operators="all"',
    'metrics.address=""',
    'alarms.webhook_url=""',
    'alarms.webhook_token_file=""',
    'alarms.webhook_ca_file=""',
)
"""Settings that win over the configuration file and the environment."""


@dataclass(frozen=True, slots=True)
class OwnDaemon:
    """A running daemon.

    Attributes:
        endpoint: where it publishes.
        service: where it answers requests.
        process: of the daemon.
        log: file with its log; None: it goes to this process's standard error.
    """

    endpoint: str
    service: str
    process: "subprocess.Popen[bytes]"
    log: Path | None

    def last_line(self) -> str:
        """Return the last line of its log, such as the error that ended it; "" without a file."""
        if self.log is None:
            return ""
        lines = self.log.read_text(errors="replace").splitlines() or [""]
        return (
            lines[-1].removeprefix("affect-edge: ").removeprefix("ERROR: ").removeprefix("error: ")
        )


@contextlib.contextmanager
def own_daemon(arguments: Sequence[str], *, shows_log: bool = False) -> Iterator[OwnDaemon]:
    """Run ``affect-edge run ARGUMENTS`` inside ``with``; its messages are in memory only.

    It ends with this process, also if that is killed.

    Args:
        arguments: options of ``affect-edge run``.
        shows_log: its log goes to standard error, and to no file.
    """
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        endpoint, service = f"ipc://{folder}/live", f"ipc://{folder}/service"
        log = None if shows_log else Path(folder, "log")
        command = [sys.executable, "-m", "edge.tools.with_parent", str(os.getpid()), "run"]
        command += arguments
        publish = (f'publish.endpoint="{endpoint}"', f'publish.service_endpoint="{service}"')
        for setting in (*publish, *_NOTHING_STORED):
            command += ["--set", setting]
        with log.open("wb") if log else contextlib.nullcontext() as file:
            # A session of its own: the terminal's Ctrl-C reaches this process alone, which then
            # stops the daemon itself.
            process = subprocess.Popen(
                command, stderr=file, env=child_environment(), start_new_session=True
            )
        try:
            yield OwnDaemon(endpoint, service, process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
