"""Synthetic daemons for the page in a browser, and what is looked for on it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import HANG_S, wait_until


def daemon_in(folder: Path, *arguments: str, faces: int = 2, name: str = "edge") -> RunningDaemon:
    folder.mkdir(exist_ok=True)
    settings = (
        *(f'device.name="{name}"', f'journal.path="{folder}/journal"'),
        f'journal.tail="{folder}/tail"',
    )
    return RunningDaemon(
        folder,
        *("--source", "/dev/video0", *PURPOSE),
        *(word for setting in settings for word in ("--set", setting)),
        *arguments,
        module=SYNTHETIC,
        environment={"SYNTHETIC_FACES": str(faces)},
    )


def addresses(*daemons: RunningDaemon) -> list[str]:
    return [
        word for each in daemons
        for word in ("--connect", each.endpoint, "--service", each.service)
    ]  # fmt: skip


def until(tab: Any, expression: str) -> None:
    """Wait until an expression of the page is true (Playwright's own wait would need eval)."""
    wait_until(lambda: tab.evaluate(expression))


def card_of(tab: Any, key: str) -> Any:
    return tab.locator(f'article[data-key="{key}"]')


class SimulatedPage:
    """The page's server with messages of hours in seconds, of one daemon; a context manager."""

    def __init__(self, faces: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.simulated_page", str(faces)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.url = self._line()

    def __enter__(self) -> "SimulatedPage":
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(HANG_S)

    def show(self, seconds: int) -> None:
        """Show so many seconds of messages; below 0: set the daemon's clock back."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        assert self._line() == "shown"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
