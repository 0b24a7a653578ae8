"""The page in a real browser with long names, and scrolled away from its top."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_pages import addresses, card_of, daemon_in, until
from tests.support.dashboards import RunningDashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
IN_SIGHT = """() => {
  scrollTo(0, document.body.scrollHeight);
  const place = document.querySelector("#alarms li").getBoundingClientRect();
  return scrollY > 100 && place.top >= 0 && place.bottom <= innerHeight;
}"""


@pytest.mark.parametrize("size", SIZES)
def test_long_names_fit_and_alarms_stay_in_sight(tab: Any, tmp_path: Path, size: str) -> None:
    width, height = SIZES[size]
    tab.set_viewport_size({"width": width, "height": height})
    code, device = "P" + 31 * "W", 32 * "w"  # as long as they may be
    with (
        daemon_in(tmp_path / "d", "--set", "alarms.no_logger_s=1", name=device) as daemon,
        RunningDashboard(tmp_path, *addresses(daemon)) as served,
    ):
        tab.goto(served.url)
        until(tab, "document.querySelector('.card footer button')?.disabled === false")
        served.command("c1", request="participant", action="assign", track=1, participant=code)
        card_of(tab, f"p:{code}").wait_for()
        served.command("c1", request="session", action="begin", name="S" + 31 * "W")
        tab.locator(".session", has_text="SWW").wait_for()
        tab.locator("#alarms li", has_text="no logger").wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        until(tab, f"({IN_SIGHT})()")
