"""When the absence of results is a fault."""

import pytest

from edge.hub.freshness import STALE_S, Freshness

SECOND_NS = 1_000_000_000
STALE_NS = int(STALE_S * SECOND_NS)


def test_a_running_source_without_results_becomes_stale() -> None:
    freshness = Freshness()
    for age_ns, expected in ((0, True), (STALE_NS - 1, True), (STALE_NS, False)):
        now_ns = 5 * SECOND_NS + age_ns
        assert (
            freshness.is_fresh(now_ns, source_state="running", result_ns=5 * SECOND_NS) is expected
        )


@pytest.mark.parametrize("state", ["starting", "waiting", "stalled", "absent", "restarting"])
def test_a_declared_absence_is_no_fault(state: str) -> None:
    assert Freshness().is_fresh(10 * STALE_NS, source_state=state, result_ns=0)


def test_no_result_yet_is_no_fault() -> None:
    assert Freshness().is_fresh(10 * STALE_NS, source_state="running", result_ns=None)


def test_a_frame_that_is_due_later_is_awaited_until_then() -> None:
    freshness = Freshness()
    freshness.note_due(50.0, SECOND_NS)
    freshness.note_due(None, SECOND_NS)  # nothing declared: what was declared stays
    due_ns = 51 * SECOND_NS
    for now_ns, expected in ((due_ns, True), (due_ns + STALE_NS - 1, True), (2 * due_ns, False)):
        assert freshness.is_fresh(now_ns, source_state="running", result_ns=0) is expected
    assert freshness.next_frame_s(11 * SECOND_NS) == 40.0
    assert freshness.next_frame_s(due_ns) is None
    assert freshness.next_frame_s(due_ns - SECOND_NS // 2) is None
