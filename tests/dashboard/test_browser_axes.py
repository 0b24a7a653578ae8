"""The charts of the operator's page, in a real browser. ``make test-browser``."""

from typing import Any

import pytest

from tests.support.browser_pages import SimulatedPage, until
from tests.support.dashboards import RunningDashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_all_cards_of_a_chamber_have_one_axis_from_the_first_moment(
    tab: Any,
    served: RunningDashboard,
) -> None:
    tab.goto(served.url)
    # a card that was never read, beside one with values
    spans = tab.evaluate(
        """async () => {
          const { Timeline } = await import("/static/timeline.js");
          const { Series } = await import("/static/store.js");
          const later = [[9000, 0.1, 0.2], [9001, 0.1, 0.2]];
          return [[], later, [[7500, 0.1, 0.2]]].map((points) => {
            const place = document.body.appendChild(document.createElement("div"));
            place.className = "chart";
            const [series, chart] = [new Series(), new Timeline(place)];
            for (const point of points) series.add(...point);
            chart.draw(series, [], 0, 9010, 1800);
            return chart.span;
          });
        }"""
    )
    assert spans == [[7210, 9010]] * 3
    tab.wait_for_function(
        """() => {
          const cards = [...document.querySelectorAll(".card")];
          return cards.length === 2 && cards.every((card) => card.cardView.span);
        }"""
    )


def test_a_chart_goes_on_after_the_clock_was_set_back(tab: Any) -> None:
    newest = "[...affectEdge.store.chambers.values()][0]?.cards.get('t:1.0')?.series.t.at(-1)"
    with SimulatedPage(1) as served:
        tab.goto(served.url)
        served.show(3600)
        until(tab, f"{newest} > 0")
        served.show(60)
        before = tab.evaluate(newest)
        served.show(-1800)
        served.show(60)
        until(tab, f"{newest} < {before - 1500}")  # no value of before is left
        after = tab.evaluate(newest)
        served.show(60)
        until(tab, f"{newest} > {after}")
