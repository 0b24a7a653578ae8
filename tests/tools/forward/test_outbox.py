"""The queue of messages on their way: none is let go before the broker has it."""

from hypothesis import given
from hypothesis import strategies as st

from edge.client import Cursor
from edge.tools.forward.outbox import Outbox, Outgoing


def outgoing(number: int) -> Outgoing:
    return Outgoing("t", b"{}", Cursor("s", 1, number))


def test_messages_are_settled_in_order_when_they_are_acknowledged() -> None:
    outbox = Outbox(in_flight=2, capacity=3)
    outbox.add(map(outgoing, range(3)))
    assert outbox.is_full
    for packet in (10, 11):
        assert outbox.next() is not None
        outbox.sent(packet)
    assert outbox.next() is None
    outbox.acknowledge(11)
    assert (outbox.take_settled(), len(outbox)) == ([], 3)
    outbox.acknowledge(10)
    outbox.acknowledge(99)
    assert (outbox.take_settled(), len(outbox)) == ([Cursor("s", 1, 1)], 1)
    assert not outbox.is_acknowledged


def test_a_watched_broker_settles_at_the_second_checkpoint() -> None:
    outbox = Outbox(in_flight=5, capacity=5)
    outbox.settles_at_checkpoints = True
    outbox.add(map(outgoing, range(2)))
    outbox.sent(1)
    outbox.acknowledge(1)
    outbox.checkpoint()
    outbox.sent(2)
    outbox.acknowledge(2)
    assert outbox.is_acknowledged
    assert outbox.take_settled() == []
    outbox.checkpoint()
    assert outbox.take_settled() == [Cursor("s", 1, 0)]
    assert outbox.rewind() == 1
    assert outbox.next() == outgoing(1)


def test_a_drop_halves_what_is_sent_until_the_next_checkpoint() -> None:
    outbox = Outbox(in_flight=10, capacity=8)
    outbox.add(map(outgoing, range(8)))
    for packet in range(6):
        outbox.sent(packet)
    outbox.shrink()
    outbox.rewind()
    for packet in range(10, 13):
        assert outbox.next() is not None
        outbox.sent(packet)
    assert outbox.next() is None
    outbox.checkpoint()
    assert outbox.window == 6
    assert outbox.next() == outgoing(3)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5)),
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.just("acknowledge"), st.integers(0, 40)),
        st.tuples(st.just("checkpoint"), st.just(0)),
        st.tuples(st.just("rewind"), st.just(0)),
    ),
    max_size=60,
)


@given(steps=STEPS, watched=st.booleans())
def test_no_message_is_settled_that_was_not_acknowledged_since_the_last_rewind(
    steps: list[tuple[str, int]], watched: bool
) -> None:
    outbox = Outbox(in_flight=4, capacity=1000)
    outbox.settles_at_checkpoints = watched
    added = packet = settled = 0
    numbers: dict[int, int] = {}  # packet -> number of its message
    acknowledged: set[int] = set()
    for step, argument in steps:
        match step:
            case "add":
                outbox.add(map(outgoing, range(added, added + argument)))
                added += argument
            case "send":
                message = outbox.next()
                if message is not None:
                    numbers[packet] = message.identity.seq
                    outbox.sent(packet)
                    packet += 1
            case "acknowledge":
                outbox.acknowledge(argument)
                if argument in numbers:
                    acknowledged.add(numbers[argument])
            case "checkpoint":
                outbox.checkpoint()
            case "rewind":
                outbox.rewind()
                numbers.clear()
                acknowledged = {number for number in acknowledged if number < settled}
        for cursor in outbox.take_settled():
            assert set(range(settled, cursor.seq + 1)) <= acknowledged
            settled = cursor.seq + 1
        assert settled + len(outbox) == added
