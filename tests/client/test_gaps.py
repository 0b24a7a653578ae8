"""Reported gaps are exactly the messages that did not arrive."""

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
    """Return the gaps and the late messages that ``detector`` finds in ``arrivals``."""
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
        (STREAM, first_epoch + epoch, seq, has_arrived)
        for epoch, flags in enumerate(arrived)
        for seq, has_arrived in enumerate(flags)
    ]
    received = [(stream, epoch, seq) for stream, epoch, seq, has_arrived in sent if has_arrived]
    gaps, late = feed(GapDetector(), received)
    assert not late
    # missing: between the first and the last one received; an epoch's lost tail is not known
    last_of = {epoch: seq for _, epoch, seq in received}
    expected = (
        [
            (stream, epoch, seq)
            for stream, epoch, seq, has_arrived in sent
            if not has_arrived
            and (stream, epoch, seq) > received[0]
            and seq < last_of.get(epoch, 0)
        ]
        if received
        else []
    )
    assert numbers(gaps) == expected
    assert all(gap.missing > 0 for gap in gaps)


@given(epochs, st.data())
def test_heartbeats_find_the_lost_tail_of_every_epoch(arrived, data):
    """With a status at the end of each epoch, every lost message is found."""
    detector = GapDetector([Cursor(STREAM, 0, -1)])
    found, missing = [], []
    for epoch, flags in enumerate(arrived):
        for seq, has_arrived in enumerate(flags):
            if has_arrived:
                found.append(detector.message(STREAM, epoch, seq)[0])
            else:
                missing.append((STREAM, epoch, seq))
            if seq == len(flags) - 1 or data.draw(st.booleans()):
                found.append(detector.heartbeat(STREAM, epoch, seq))
    assert numbers(gap for gap in found if gap) == missing
    assert detector.cursors == (Cursor(STREAM, len(arrived) - 1, len(arrived[-1]) - 1),)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 6))))
def test_messages_in_any_order_and_repeated(arrivals):
    """Each number is received in order or missing at most once; cursors never move back."""
    detector = GapDetector()
    accounted_for, last = set(), {}
    for stream, epoch, seq in arrivals:
        gap, late = detector.message(stream, epoch, seq)
        assert late == ((epoch, seq) <= last.get(stream, (-1, -1)))
        new = set(numbers([gap] if gap else [])) | (set() if late else {(stream, epoch, seq)})
        assert not new & accounted_for
        accounted_for |= new
        if not late:
            last[stream] = (epoch, seq)
    assert {c.stream: (c.epoch, c.seq) for c in detector.cursors} == last


@given(st.lists(st.booleans(), max_size=15), st.data())
def test_a_detector_restarted_from_cursors_finds_the_same_gaps(arrived, data):
    received = [(STREAM, 3, seq) for seq, has_arrived in enumerate(arrived) if has_arrived]
    restart_at = data.draw(st.integers(0, len(received)))
    uninterrupted = GapDetector()
    expected = feed(uninterrupted, received)
    first = GapDetector()
    before = feed(first, received[:restart_at])
    second = GapDetector(first.cursors)
    after = feed(second, received[restart_at:])
    assert (before[0] + after[0], before[1] + after[1]) == expected
    assert second.cursors == uninterrupted.cursors


def test_nothing_is_missing_before_the_first_message_of_a_stream():
    detector = GapDetector()
    assert detector.message("a", 2, 40) == (None, False)
    assert detector.message("b", 0, 7) == (None, False)
    assert detector.message("a", 2, 42) == (Gap("a", 2, 41, 41), False)


def test_a_new_epoch_of_a_known_stream_is_expected_from_number_0():
    detector = GapDetector()
    detector.message("a", 2, 40)
    assert detector.message("a", 3, 2) == (Gap("a", 3, 0, 1), False)
    assert detector.message("a", 2, 41) == (None, True)


def test_a_heartbeat_before_the_first_message_reports_no_gap():
    detector = GapDetector()
    assert detector.heartbeat("a", 1, -1) is None
    assert detector.message("a", 1, 0) == (None, False)
    assert detector.heartbeat("a", 1, 0) is None
    assert detector.heartbeat("a", 2, -1) is None
    assert detector.message("a", 2, 1) == (Gap("a", 2, 0, 0), False)


def test_an_epoch_that_began_while_waiting_is_expected_from_number_0():
    detector = GapDetector()
    assert detector.message("a", 1, 3) == (None, False)
    assert detector.heartbeat("a", 1, 3, began_while_waiting=True) == Gap("a", 1, 0, 2)
    assert detector.heartbeat("a", 1, 3, began_while_waiting=True) is None
    assert detector.message("a", 1, 4) == (None, False)


def test_a_gap_up_to_a_heartbeat_comes_before_the_one_at_the_beginning():
    detector = GapDetector()
    detector.message("a", 1, 3)
    assert detector.heartbeat("a", 1, 5, began_while_waiting=True) == Gap("a", 1, 4, 5)
    assert detector.heartbeat("a", 1, 5, began_while_waiting=True) == Gap("a", 1, 0, 2)


def test_a_heartbeat_may_be_the_first_of_an_epoch_that_began_while_waiting():
    detector = GapDetector()
    assert detector.heartbeat("a", 1, -1, began_while_waiting=True) is None
    assert detector.heartbeat("b", 1, 7, began_while_waiting=True) == Gap("b", 1, 0, 7)
    assert detector.message("b", 1, 8) == (None, False)


def test_an_epoch_that_began_before_has_no_gap_at_its_beginning():
    detector = GapDetector([Cursor("known", 1, 5)])
    detector.message("a", 1, 3)
    assert detector.heartbeat("a", 1, 3) is None
    assert detector.heartbeat("a", 1, 3, began_while_waiting=True) is None
    detector.message("b", 1, 3)
    detector.message("b", 2, 0)
    assert detector.heartbeat("b", 2, 0, began_while_waiting=True) is None
    assert detector.message("known", 2, 3) == (Gap("known", 2, 0, 2), False)
    assert detector.heartbeat("known", 2, 3, began_while_waiting=True) is None


def test_the_highest_cursor_of_a_stream_counts():
    detector = GapDetector([Cursor("a", 1, 9), Cursor("a", 2, 1), Cursor("a", 1, 12)])
    assert detector.cursors == (Cursor("a", 2, 1),)


def test_the_number_of_remembered_streams_is_bounded():
    detector = GapDetector()
    for number in range(1000):
        detector.message("steady", 0, number)
        detector.message(f"stream-{number}", 0, 0)
    assert len(detector.cursors) <= 256
    assert Cursor("steady", 0, 999) in detector.cursors
