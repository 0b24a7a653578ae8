"""A headless Chromium, and the page of a synthetic daemon in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_pages import addresses, daemon_in
from tests.support.daemons import RunningDaemon
from tests.support.dashboards import RunningDashboard
from tests.support.postgres import require
from tests.support.waiting import HANG_S


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    require("chromium", program)
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A page that fails the test if it loads an address outside, or reports an error."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(HANG_S * 1e3)
    problems: list[str] = []
    requested: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda line: problems.append(line.text) if "Content Security" in line.text else None,
    )
    page.on("request", lambda request: requested.append(request.url))
    yield page
    origins = {"/".join(url.split("/")[:3]) for url in requested if not url.startswith("data:")}
    context.close()
    assert not problems
    assert len(origins) <= 1


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with daemon_in(tmp_path / "d") as running:
        running.wait_for_frame()
        yield running


@pytest.fixture
def served(tmp_path: Path, daemon: RunningDaemon) -> Iterator[RunningDashboard]:
    with RunningDashboard(tmp_path, *addresses(daemon), "--mark", "pressure 2.8 bar") as running:
        yield running
