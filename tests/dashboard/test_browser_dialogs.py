"""What the dialogs of the operator's page take, in a real browser. ``make test-browser``."""

from typing import Any

import pytest

from tests.support.browser_pages import card_of
from tests.support.dashboards import RunningDashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_dialog_stays_open_until_its_text_can_be_taken(
    tab: Any,
    served: RunningDashboard,
) -> None:
    tab.goto(served.url)
    card_of(tab, "t:1.2").wait_for()
    code = card_of(tab, "t:1.2").get_by_role("button", name="Code …")
    session = tab.get_by_role("button", name="Begin session")
    for button, name, wrong, right in (
        (tab.locator("#mark-open"), "mark", ("", "  "), "2.8 bar"),
        (code, "code", ("", "Peter Smith", "7"), " P07 "),
        (session, "session", ("", "9", "a b"), "P07-first"),
    ):
        dialog = tab.locator(f"#{name}-dialog")
        field = dialog.locator("input:not([id$=note])")
        button.click()
        for text in wrong:
            field.fill(text)
            field.press("Enter")
            assert dialog.is_visible(), text
        dialog.get_by_role("button", name="Cancel").click()
        dialog.wait_for(state="hidden")
        button.click()
        field.fill(right)
        field.press("Enter")
        dialog.wait_for(state="hidden")
        tab.locator(".toast", has_text=right.strip()).wait_for()
    assert not tab.locator(".toast.bad").count()
    # releasing takes no text
    card_of(tab, "p:P07").get_by_role("button", name="Code …").click()
    tab.locator("#code-release").click()
    tab.locator(".toast", has_text="P07 is released").wait_for()
