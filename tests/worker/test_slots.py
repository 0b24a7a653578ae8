"""Slots between real threads: files lose no item, live sources count every lost one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.worker.slots import BLOCKING_LENGTH, Closed, Slot
from tests.support.waiting import HANG_S


@contextmanager
def consumer_of(slot: Slot[int]) -> Iterator[list[int]]:
    """Take items in a thread and yield the list of them; at the end, close the slot and join."""
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.extend(slot))
    thread.start()
    try:
        yield taken
    finally:
        slot.close()
        thread.join(HANG_S)
    assert not thread.is_alive()


@given(st.lists(st.booleans(), max_size=60))
def test_the_newest_item_wins_and_overwritten_ones_are_counted(puts: list[bool]) -> None:
    """True puts the next number, False takes one; compared with a simple model of the slot."""
    slot: Slot[int] = Slot(newest_wins=True)
    waiting: int | None = None
    dropped = 0
    for number, is_put in enumerate(puts, start=1):
        if is_put:
            assert slot.put(number) == (waiting is not None)
            dropped += waiting is not None
            waiting = number
        elif waiting is not None:  # an empty slot would wait for ever
            assert slot.get() == waiting
            waiting = None
        assert slot.dropped == dropped


def test_a_blocking_slot_loses_nothing_and_keeps_the_order() -> None:
    slot: Slot[int] = Slot(newest_wins=False)
    with consumer_of(slot) as taken:
        for number in range(10_000):
            assert slot.put(number) is False
    assert taken == list(range(10_000))
    assert slot.dropped == 0


def test_every_item_is_taken_or_counted_as_dropped() -> None:
    slot: Slot[int] = Slot(newest_wins=True)
    with consumer_of(slot) as taken:
        for number in range(20_000):
            slot.put(number)
    assert len(taken) + slot.dropped == 20_000
    assert taken == sorted(set(taken))
    assert taken[-1] == 19_999, "the last item before the end is never lost"


def test_a_closed_slot_gives_its_last_item_and_refuses_more() -> None:
    slot: Slot[str] = Slot(newest_wins=True)
    slot.put("last")
    slot.close()
    with pytest.raises(Closed):
        slot.put("too late")
    assert slot.get() == "last"
    with pytest.raises(Closed):
        slot.get()


def test_closing_releases_a_waiting_producer() -> None:
    slot: Slot[int] = Slot(newest_wins=False)
    for number in range(BLOCKING_LENGTH):
        slot.put(number)
    released = threading.Event()

    def produce() -> None:
        try:
            slot.put(BLOCKING_LENGTH)
        except Closed:
            released.set()

    producer = threading.Thread(target=produce)
    producer.start()
    slot.close()
    producer.join(HANG_S)
    assert released.is_set()
    assert list(slot) == list(range(BLOCKING_LENGTH))


def test_an_item_and_the_end_release_a_waiting_consumer() -> None:
    slot: Slot[int] = Slot(newest_wins=True)
    with consumer_of(slot) as taken:
        slot.put(7)
    assert taken == [7]


@pytest.mark.parametrize("end", ["item", "close", "enough"])
def test_a_consumer_that_waits_for_something_else_is_released(end: str) -> None:
    slot: Slot[int] = Slot(newest_wins=True)
    enough, asked = threading.Event(), threading.Event()

    def is_enough() -> bool:
        asked.set()
        return enough.is_set()

    consumer = threading.Thread(target=slot.wait, args=(is_enough,))
    consumer.start()
    assert asked.wait(HANG_S)
    if end == "item":
        slot.put(1)
    elif end == "close":
        slot.close()
    else:
        enough.set()
        slot.wake()
    consumer.join(HANG_S)
    assert not consumer.is_alive()
