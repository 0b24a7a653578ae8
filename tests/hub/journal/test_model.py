"""What is read equals what was appended, less what was trimmed: compared with a list."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.hub.journal.batch import Position
from edge.hub.journal.entries import Entry
from edge.hub.journal.memory import Memory
from edge.hub.journal.reader import Reader
from edge.hub.journal.store import Store
from tests.support.journals import body

STREAM = "8a1c4a86-7a39-4c08-a9c9-8ed4bb0c1e7a"

step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 400)),
    st.tuples(st.just("commit"), st.integers(0, 500)),
    st.tuples(st.just("commit_but_keep"), st.integers(0, 500)),
    st.tuples(st.just("trim"), st.integers(1, 3)),
    st.tuples(st.just("reopen"), st.just(0)),
    st.tuples(st.just("epoch"), st.just(0)),
)


@settings(max_examples=60)
@given(
    steps=st.lists(step, max_size=14),
    max_messages=st.integers(1, 300),
    max_bytes=st.sampled_from([1, 400, 5_000, 1 << 19]),
    start=st.tuples(st.integers(1, 4), st.integers(-1, 500)),
)
def test_every_message_is_read_once_or_lies_in_a_gap(
    steps: list[tuple[str, int]], max_messages: int, max_bytes: int, start: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "journal.sqlite"
        store = Store(path, STREAM, check_s=2)
        memory = Memory(1)
        appended: list[Position] = []
        trimmed: set[Position] = set()
        for name, amount in steps:
            match name:
                case "append":
                    for _ in range(amount):
                        epoch, seq = memory.newest.epoch, memory.newest.seq + 1
                        memory.append(Entry(epoch, seq, seq, body(epoch, seq)))
                        appended.append(Position(epoch, seq))
                case "commit" | "commit_but_keep":
                    entries = memory.first(amount)
                    store.commit(entries, run_s=0)
                    if name == "commit" and entries:
                        memory.remove(entries[-1].position)
                case "trim":
                    for group in store.trim(count=amount):
                        seqs = range(group.first_seq, group.last_seq + 1)
                        trimmed |= {Position(group.epoch, seq) for seq in seqs}
                case "reopen":
                    store.close()
                    store = Store(path, STREAM, check_s=2)
                    assert store.is_checked
                case "epoch":
                    rest = memory.first(1_000_000)
                    store.commit(rest, run_s=0, complete=[memory.newest.epoch])
                    memory = Memory(memory.newest.epoch + 1)
        writer = SimpleNamespace(
            readable=store,
            retention=SimpleNamespace(oldest=None),
            recovered={},
            recorded_gap=lambda store, *at: store.gap(*at),
        )
        reader = Reader(memory, writer)  # type: ignore[arg-type]
        after = min(Position(*start), memory.newest)
        expected = [each for each in appended if each > after]
        covered: list[Position] = []
        while True:
            batch = reader.read(after, max_messages=max_messages, max_bytes=max_bytes)
            if batch.gap is not None:
                assert batch.gap.reason == "trimmed"
                assert batch.gap.last_missing is not None
                seqs = range(batch.gap.first_missing, batch.gap.last_missing + 1)
                missing = [Position(batch.gap.epoch, seq) for seq in seqs]
                assert trimmed.issuperset(missing)
                covered += missing
            lines = batch.lines.split(b"\n") if batch.count else []
            assert len(lines) == batch.count <= max_messages
            assert batch.count == 1 or len(batch.lines) <= max_bytes
            epoch, first = batch.next.epoch, batch.next.seq - len(lines) + 1
            assert lines == [body(epoch, first + number) for number in range(len(lines))]
            covered += [Position(epoch, first + number) for number in range(len(lines))]
            assert batch.next > after or batch.caught_up
            after = batch.next
            if batch.caught_up:
                break
        assert covered == expected
        # the first message of an epoch is never missing
        firsts = {each for each in expected if each.seq == 0}
        assert firsts <= set(covered)
        store.close()
