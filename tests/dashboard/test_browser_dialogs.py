"""What the dialogs of the operator's page take, in a real browser. ``make test-browser``."""

from typing import Any

import pytest

from tests.support.browser_pages import card_of, until
from tests.support.dashboards import RunningDashboard
from tests.support.waiting import wait_until

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


def test_the_keys_work_after_a_choice_and_where_digits_need_shift(
    tab: Any, served: RunningDashboard
) -> None:
    tab.goto(served.url)
    until(tab, "document.querySelector('.card footer button')?.disabled === false")
    marked = tab.locator("#events [data-event=mark]")
    tab.get_by_role("radio", name="2 h", exact=True).click()  # has the focus now
    tab.keyboard.press("1")
    wait_until(lambda: marked.count() == 1)
    tab.evaluate(
        "dispatchEvent(new KeyboardEvent('keydown', { key: '@', code: 'Digit2', shiftKey: true }));"
        "dispatchEvent(new KeyboardEvent('keydown', { key: '+', code: 'Digit1' }))"
    )
    wait_until(lambda: marked.count() == 2)
    assert not tab.locator(".toast", has_text="key 2").count()
    tab.keyboard.press("m")
    tab.locator("#mark-text").press("1")
    assert tab.locator("#mark-text").input_value() == "1"
