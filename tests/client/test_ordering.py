"""Every message is passed on once and in order, or is in a gap, whatever is lost or repeated."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.client.ordering import NOT_FETCHED, StreamOrder
from edge.client.pages import parse_page
from edge.protocol import messages
from edge.protocol.requests import FetchRequest
from tests.support.fetch_server import Store
from tests.support.wire import status


class Consumer:
    """A consumer of a store over a network that a test controls."""

    def __init__(self, store, position):
        self.store = store
        self.order = StreamOrder(position, held_max=5)
        self.published = []  # messages on their way
        self.replies = []  # every reply ever made
        self.passed, self.gaps = [], []

    def publish(self, arrives):
        message = self.store.add()
        if arrives:
            self.published.append(message)

    def take_live(self):
        if self.published:
            message = self.published.pop(0)
            self.add(self.order.live(message, messages.encode(message), 0))

    def take_status(self):
        message = status(self.store.last_seq, epoch=self.store.epoch)
        for each in self.add(self.order.status(message, messages.encode(message))):
            assert self.order.position >= (each.epoch, each.last_seq)

    def ask(self, count=3):
        position = self.order.position
        self.replies.append(
            self.store.reply(
                FetchRequest(max=count)
                if position is None
                else FetchRequest(stream="s", epoch=position[0], seq=position[1], max=count)
            )
        )

    def take_reply(self, index):
        """Take the last reply, or an earlier one: repeated, or late."""
        if self.replies:
            self.add(self.order.page(parse_page(self.replies[-1 - index % len(self.replies)]), 0))

    def add(self, ordered):
        statuses = []
        for each in ordered:
            self.gaps += each.gaps
            message = each.message or messages.decode(each.part)
            if message.kind == "status":
                statuses.append(message)
            else:
                self.passed.append((message.epoch, message.seq))
        return statuses

    def drain(self):
        self.take_status()
        for _ in range(1000):
            if not self.order.is_behind and not self.published:
                return
            while self.published:
                self.take_live()
            self.ask()
            self.take_reply(0)
        raise AssertionError("never caught up")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.booleans()),
        st.tuples(st.just("live"), st.just(0)),
        st.tuples(st.just("status"), st.just(0)),
        st.tuples(st.just("ask"), st.integers(0, 4)),
        st.tuples(st.just("reply"), st.integers(0, 3)),
        st.tuples(st.just("epoch"), st.booleans()),
        st.tuples(st.just("lose"), st.integers(1, 6)),
    ),
    max_size=60,
)


def run(consumer, faults):
    """Run the steps; return every position that was ever stored, and those lost."""
    store, lost = consumer.store, set()
    ever = set(store.positions)
    for step, value in faults:
        match step:
            case "publish":
                consumer.publish(value)
            case "live":
                consumer.take_live()
            case "status":
                consumer.take_status()
            case "ask":
                consumer.ask(value)
            case "reply":
                consumer.take_reply(value)
            case "epoch":
                consumer.published = [] if value else consumer.published
                store.begin_epoch()
                consumer.publish(False)
            case "lose":
                oldest = store.positions[:value]
                for epoch, seq in oldest if len(oldest) < len(store.positions) else []:
                    store.lose(epoch, seq, seq)
                    lost.add((epoch, seq))
        ever.update(store.positions)
    return ever, lost


def missing(gaps):
    return [(g.epoch, n) for g in gaps for n in range(g.first_missing, g.last_missing + 1)]


@settings(max_examples=400)
@given(steps)
def test_each_message_is_passed_on_once_and_in_order_or_is_in_a_gap(faults):
    store = Store()
    store.begin_epoch()
    store.add("epoch_started")
    consumer = Consumer(store, (1, -1))
    ever, lost = run(consumer, faults)
    consumer.drain()
    assert consumer.passed == sorted(set(consumer.passed))
    assert consumer.order.held == 0
    unexplained = ever - set(consumer.passed) - set(missing(consumer.gaps))
    assert unexplained <= lost, "silently skipped"
    # the next message that is passed on carries the rest
    consumer.publish(True)
    consumer.drain()
    in_gaps = missing(consumer.gaps)
    assert len(in_gaps) == len(set(in_gaps))
    assert not set(in_gaps) & set(consumer.passed)
    assert set(in_gaps) <= lost
    assert set(consumer.passed) | set(in_gaps) == ever | {(store.epoch, store.last_seq)}


@given(steps)
def test_a_consumer_without_a_cursor_gets_all_that_is_stored(faults):
    store = Store()
    store.begin_epoch()
    store.add("epoch_started")
    consumer = Consumer(store, None)
    run(consumer, [step for step in faults if step[0] != "lose"])
    consumer.drain()
    assert consumer.passed == store.positions
    assert not consumer.gaps


def test_what_is_not_fetched_in_time_is_passed_on_with_the_reason():
    consumer = Consumer(Store(), (1, -1))
    consumer.store.begin_epoch()
    for arrives in (True, False, True, False, True):
        consumer.publish(arrives)
    for _ in range(3):
        consumer.take_live()
    released = consumer.order.release()
    assert [each.hole_reason for each in released] == [NOT_FETCHED, None]
    assert consumer.order.position == (1, 4)
    assert consumer.order.is_behind
