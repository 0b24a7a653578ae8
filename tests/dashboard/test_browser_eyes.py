"""What a card of the operator's page says of the eyes, in a real browser. ``make test-browser``."""

from typing import Any

import pytest

from tests.support.browser_pages import card_of
from tests.support.dashboards import RunningDashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

EYES = """async ([data, now]) => {
  const card = await import("/static/card.js");
  return card.eyesState(data, true, now);
}"""


def test_a_card_says_what_is_known_of_the_eyes(
    tab: Any,
    served: RunningDashboard,
) -> None:
    tab.goto(served.url)
    card_of(tab, "t:1.2").wait_for()
    assert card_of(tab, "t:1.2").locator(".eyes").is_hidden(), "the mesh is off"

    def says(now_ms: int = 1000, *, in_view: bool = True, **lids: Any) -> Any:
        known = {"perclos": 0.124, "perclos_reason": "", "blinks_per_min": 14.4}
        known |= {"blinks_reason": "", "closed_s": None, **lids}
        data = {"in_view": in_view, "measured_ms": 1000, "lids": known}
        return tab.evaluate(EYES, [data, now_ms])

    assert says() == ["", ["PERCLOS 12 %", "14 blinks a minute"]]
    assert says(blinks_per_min=1.2)[1][1] == "1 blink a minute"
    assert says(closed_s=0.4)[0] == "", "a blink is no news"
    assert says(closed_s=4.2) == [
        "closed",
        ["eyes closed for 4 s", "PERCLOS 12 %", "14 blinks a minute"],
    ]
    nothing: dict[str, Any] = {"perclos": None, "blinks_per_min": None}
    short: dict[str, Any] = {"perclos_reason": "too_short", "blinks_reason": "too_short"}
    assert says(**nothing, **short)[1] == ["PERCLOS, blinks: known after a minute"]
    assert says(blinks_per_min=None, blinks_reason="too_seldom")[1] == [
        "PERCLOS 12 %",
        "blinks: measured too seldom",
    ]
    assert says(now_ms=9000)[1] == ["eyes not measured for 8 s"]
    assert says(in_view=False) == says(), "lost for a moment is no news"
    assert says(now_ms=9000, in_view=False)[1] == ["PERCLOS –", "blinks –"]
    assert tab.evaluate(EYES, [{"in_view": True}, 0])[1] == ["eyes not measured"]
