"""The past of a journal: where it begins, that it is whole, and that trouble ends it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dashboard.directory import Past, Position
from edge.errors import RequestRefused
from edge.protocol.requests import FetchRequest

S = 1_000_000_000


class Journal:
    """Answers ``fetch`` as a daemon does; epochs of messages, each with a time in seconds."""

    def __init__(self, epochs: Sequence[Sequence[int]], trimmed: int = 0) -> None:
        self.requests = 0
        self.all: list[dict[str, Any]] = []
        for number, times in enumerate(epochs, 1):
            before = epochs[number - 2] if number > 1 else None
            previous = before and {"epoch": number - 1, "last_seq": len(before) - 1, "ended": True}
            for seq, t_s in enumerate(times):
                message = {"epoch": number, "seq": seq, "time": {"unix_ns": t_s * S}}
                begins = {"kind": "event", "detail": {"previous": previous or None}}
                self.all.append(message | ({"kind": "frame"} if seq else begins))
        self.stored = self.all[trimmed:]

    @property
    def newest(self) -> Position:
        return Position(self.all[-1]["epoch"], self.all[-1]["seq"])

    def send(self, request: FetchRequest) -> Mapping[str, Any]:
        self.requests += 1
        assert request.name is None  # nothing is acknowledged
        cursor = (request.epoch, request.seq)
        after = [each for each in self.stored if (each["epoch"], each["seq"]) > cursor]
        found = [each for each in after if each["epoch"] == after[0]["epoch"]][: request.max]
        last = found[-1] if found else {"epoch": cursor[0], "seq": cursor[1]}
        return {"messages": found, "next": {"epoch": last["epoch"], "seq": last["seq"]}}

    def past(self, since_s: int) -> list[Mapping[str, Any]]:
        pages = Past(self.send, "stream", self.newest, since_s * S).pages()
        found: list[Mapping[str, Any]] = []
        shares = []
        for messages, share in pages:
            found += messages
            shares.append(share)
        assert shares == sorted(shares)
        assert shares[-1] == 1
        return found


@st.composite
def journals(draw: st.DrawFn) -> list[list[int]]:
    epochs, now = [], 1
    for _ in range(draw(st.integers(1, 4))):
        times = []
        for _ in range(draw(st.integers(1, 40))):
            now += draw(st.integers(0, 3))
            times.append(now)
        epochs.append(times)
        now += draw(st.integers(1, 50))
    return epochs


@given(journals(), st.integers(0, 300), st.integers(0, 60))
def test_all_that_is_stored_since_a_time_is_read(
    epochs: list[list[int]], since_s: int, trimmed: int
) -> None:
    total = sum(map(len, epochs))
    journal = Journal(epochs, min(trimmed, total - 1))
    found = journal.past(since_s)
    wanted = [each for each in journal.stored if each["time"]["unix_ns"] >= since_s * S]
    assert found[len(found) - len(wanted) :] == wanted
    # what is read beyond that is little: the search ends at an epoch that is not stored as a whole
    if not trimmed:
        assert len(found) == len(wanted)


def test_the_beginning_of_a_day_is_found_with_few_requests() -> None:
    journal = Journal([range(86_400)])
    found = journal.past(86_400 - 600)
    assert len(found) == 600
    assert journal.requests < 25


def test_an_empty_journal_has_no_past() -> None:
    def never(_: FetchRequest) -> Mapping[str, Any]:
        raise AssertionError

    assert list(Past(never, "stream", Position(1, -1), 0).pages()) == [([], 1.0)]


def test_a_refusal_ends_it() -> None:
    def refuse(_: FetchRequest) -> Mapping[str, Any]:
        raise RequestRefused("fetch is not answered here")

    with pytest.raises(RequestRefused):
        next(Past(refuse, "stream", Position(1, 7), 0).pages())
