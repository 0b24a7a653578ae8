"""The gaps that are reported are exactly the messages that did not arrive."""

from hypothesis import given
from hypothesis import strategies as st

from edge.client import Cursor, Gap, GapDetector

STREAM = "a"


def numbers(gaps):
    return [
        (gap.stream, gap.epoch, seq)
        for gap in gaps
        for seq in range(gap.first_missing, gap.last_missing + 1)
    ]


def feed(detector, arrivals):
    """Return the gaps and the late ones that ``detector`` found in ``arrivals``."""
    gaps, late = [], []
    for arrival in arrivals:
        gap, is_late = detector.message(*arrival)
        if gap is not None:
            gaps.append(gap)
        if is_late:
            late.append(arrival)
    return gaps, late


epochs = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=4
)  # one list per epoch; true where a message arrived


@given(epochs, st.integers(0, 5))
def test_reported_gaps_are_exactly_the_missing_messages(arrived, first_epoch):
    sent = [
        (STREAM, first_epoch + epoch, seq, here)
        for epoch, flags in enumerate(arrived)
        for seq, here in enumerate(flags)
    ]
    heard = [(stream, epoch, seq) for stream, epoch, seq, here in sent if here]
    gaps, late = feed(GapDetector(), heard)
    assert not late
    # missing: between the first and the last one heard; of an epoch's tail nothing is known
    last_of = {epoch: seq for _, epoch, seq in heard}
    expected = (
        [
            (stream, epoch, seq)
            for stream, epoch, seq, here in sent
            if not here and (stream, epoch, seq) > heard[0] and seq < last_of.get(epoch, 0)
        ]
        if heard
        else []
    )
    assert numbers(gaps) == expected
    assert all(gap.missing > 0 for gap in gaps)


@given(epochs, st.data())
def test_heartbeats_find_the_lost_tail_of_every_epoch(arrived, data):
    """With a status after each message and at the end, nothing at all is missed silently."""
    detector = GapDetector([Cursor(STREAM, 0, -1)])
    found, missing = [], []
    for epoch, flags in enumerate(arrived):
        for seq, here in enumerate(flags):
            if here:
                found.append(detector.message(STREAM, epoch, seq)[0])
            else:
                missing.append((STREAM, epoch, seq))
            if seq == len(flags) - 1 or data.draw(st.booleans()):
                found.append(detector.heartbeat(STREAM, epoch, seq))
    assert numbers(gap for gap in found if gap) == missing
    assert detector.cursors == (Cursor(STREAM, len(arrived) - 1, len(arrived[-1]) - 1),)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 6))))
def test_any_order_and_any_repeats(arrivals):
    """Each number is booked once: heard in order, late, or missing; cursors never go back."""
    detector = GapDetector()
    settled, before = set(), {}
    for stream, epoch, seq in arrivals:
        gap, late = detector.message(stream, epoch, seq)
        assert late == ((epoch, seq) <= before.get(stream, (-1, -1)))
        fresh = set(numbers([gap] if gap else [])) | (set() if late else {(stream, epoch, seq)})
        assert not fresh & settled
        settled |= fresh
        if not late:
            before[stream] = (epoch, seq)
    assert {c.stream: (c.epoch, c.seq) for c in detector.cursors} == before


@given(st.lists(st.booleans(), max_size=15), st.data())
def test_a_restart_from_its_cursors_changes_nothing(arrived, data):
    heard = [(STREAM, 3, seq) for seq, here in enumerate(arrived) if here]
    cut = data.draw(st.integers(0, len(heard)))
    whole = GapDetector()
    expected = feed(whole, heard)
    first = GapDetector()
    before = feed(first, heard[:cut])
    second = GapDetector(first.cursors)
    after = feed(second, heard[cut:])
    assert (before[0] + after[0], before[1] + after[1]) == expected
    assert second.cursors == whole.cursors


def test_listening_begins_at_the_first_message_of_a_stream():
    detector = GapDetector()
    assert detector.message("a", 2, 40) == (None, False)
    assert detector.message("b", 0, 7) == (None, False)
    assert detector.message("a", 2, 42) == (Gap("a", 2, 41, 41), False)


def test_a_new_epoch_of_a_known_stream_is_expected_from_its_beginning():
    detector = GapDetector()
    detector.message("a", 2, 40)
    assert detector.message("a", 3, 2) == (Gap("a", 3, 0, 1), False)
    assert detector.message("a", 2, 41) == (None, True)


def test_a_heartbeat_before_anything_was_sent_tells_nothing():
    detector = GapDetector()
    assert detector.heartbeat("a", 1, -1) is None
    assert detector.message("a", 1, 0) == (None, False)
    assert detector.heartbeat("a", 1, 0) is None
    assert detector.heartbeat("a", 2, -1) is None
    assert detector.message("a", 2, 1) == (Gap("a", 2, 0, 0), False)


def test_the_furthest_cursor_of_a_stream_counts():
    detector = GapDetector([Cursor("a", 1, 9), Cursor("a", 2, 1), Cursor("a", 1, 12)])
    assert detector.cursors == (Cursor("a", 2, 1),)


def test_memory_is_bounded_over_ever_new_streams():
    detector = GapDetector()
    for number in range(1000):
        detector.message("steady", 0, number)
        detector.message(f"stream-{number}", 0, 0)
    assert len(detector.cursors) <= 256
    assert Cursor("steady", 0, 999) in detector.cursors
