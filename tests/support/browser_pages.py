"""Synthetic daemons for the page in a browser, and what is looked for on it."""

from pathlib import Path
from typing import Any

from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import wait_until


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
