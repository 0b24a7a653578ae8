"""The page in a real browser that loses its server, or is behind other tabs."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_pages import addresses, card_of, daemon_in, until
from tests.support.daemons import RunningDaemon
from tests.support.dashboards import RunningDashboard
from tests.support.relay import TcpRelay
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_connection_that_died_without_a_word_is_made_anew(
    tab: Any, served: RunningDashboard
) -> None:
    with TcpRelay(f"tcp://127.0.0.1:{served.port}") as relay:
        tab.goto(f"http{relay.endpoint.removeprefix('tcp')}/")
        card_of(tab, "t:1.1").wait_for()
        wait_until(lambda: relay.connections == 1)  # the updates; the others were idle
        relay.strand()
        tab.evaluate("Date.now = ((now) => () => now() - 3600_000)(Date.now)")  # and is set back
        banner = tab.locator("#connection")
        banner.filter(has_text="does not answer since").wait_for()
        wait_until(lambda: tab.title() == "▲ no connection to the page's server")
        banner.filter(has_text="trying again").wait_for(state="detached")
        wait_until(lambda: tab.title() == "affect-edge")


def test_the_title_says_what_is_wrong_while_the_tab_is_hidden(tab: Any, tmp_path: Path) -> None:
    with (
        daemon_in(tmp_path / "d", "--set", "alarms.no_logger_s=1") as daemon,
        RunningDashboard(tmp_path, *addresses(daemon)) as served,
    ):
        tab.goto(served.url)
        until(tab, "document.querySelector('.card footer button')?.disabled === false")
        wait_until(lambda: tab.title() == "affect-edge")  # it is drawn once a second
        tab.evaluate(HIDE)
        served.command("c1", request="session", action="begin", name="P07-first")
        wait_until(lambda: tab.title().endswith("no logger has fetched the record"))


def test_the_title_names_a_daemon_that_is_gone(
    tab: Any, served: RunningDashboard, daemon: RunningDaemon
) -> None:
    tab.goto(served.url)
    card_of(tab, "t:1.1").wait_for()
    tab.evaluate(HIDE)
    daemon.process.kill()
    wait_until(lambda: tab.title() == "▲ edge: no connection")


def test_keys_are_those_of_the_server_that_was_started_again(
    tab: Any, served: RunningDashboard, daemon: RunningDaemon, tmp_path: Path
) -> None:
    tab.goto(served.url)
    until(tab, "document.querySelector('.card footer button')?.disabled === false")
    served.stop()
    again = RunningDashboard(
        tmp_path, *addresses(daemon), "--mark", "mask on", bind=f"127.0.0.1:{served.port}"
    )
    with again:
        until(tab, "document.querySelector('.card footer button')?.disabled === false")

        def marked() -> bool:
            tab.keyboard.press("1")
            return bool(tab.locator(".toast").filter(has_text="mask on").count())

        wait_until(marked)
