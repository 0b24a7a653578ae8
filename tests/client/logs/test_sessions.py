"""Where sessions lie in a log that lacks some of their events: never in another session."""

from hypothesis import given
from hypothesis import strategies as st

from edge.client.logs.sessions import NO_END, SessionEvent, Span, sessions_of


def event(epoch: int, seq: int, kind: str, session: str) -> SessionEvent:
    return SessionEvent("s", epoch, seq, f"session_{kind}", session, session, "")


def spans(*events: SessionEvent) -> dict[str, list[Span]]:
    return {each.session: each.spans for each in sessions_of(events)}


def test_a_session_without_both_ends_reaches_to_its_neighbours():
    found = spans(
        event(1, 1, "began", "a"),
        event(1, 20, "ended", "a"),
        event(2, 1, "resumed", "b"),
        event(3, 40, "began", "c"),
        event(3, 50, "ended", "c"),
    )
    assert found["b"] == [Span("s", (1, 21), (3, 39))]
    assert found["c"] == [Span("s", (3, 40), (3, 50))]


def test_neighbours_without_their_inner_events_bound_it_too():
    found = spans(
        event(1, 1, "began", "a"),
        event(2, 1, "resumed", "b"),
        event(3, 50, "ended", "c"),
    )
    assert found["a"] == [Span("s", (1, 1), (2, 0))]
    assert found["b"] == [Span("s", (1, 2), (3, 49))]
    assert found["c"] == [Span("s", (2, 2), (3, 50))]


def test_without_neighbours_it_reaches_over_its_stream():
    (session,) = sessions_of([event(2, 1, "resumed", "b")])
    assert session.spans == [Span("s", (0, 0), NO_END)]
    assert not session.has_begin
    assert not session.has_end


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12), st.data())
def test_missing_events_never_let_a_session_reach_an_event_of_another_one(
    steps: list[tuple[int, bool]], data: st.DataObject
):
    events: list[SessionEvent] = []
    epoch = seq = 1
    for number, (length, restarts) in enumerate(steps):
        name = f"session{number}"
        events.append(event(epoch, seq, "began", name))
        seq += length
        if restarts:
            epoch, seq = epoch + 1, 1
            events.append(event(epoch, seq, "resumed", name))
        events.append(event(epoch, seq + 1, "ended", name))
        seq += 1 + length
    shown = data.draw(st.lists(st.sampled_from(events), unique=True, min_size=1))
    whole = {each.session: each.spans[0] for each in sessions_of(events)}
    for session in sessions_of(data.draw(st.permutations(shown))):
        (span,) = session.spans
        assert span.first <= whole[session.session].last
        assert span.last >= whole[session.session].first
        for other in shown:
            at = other.epoch, other.seq
            assert (span.first <= at <= span.last) == (other.session == session.session)
