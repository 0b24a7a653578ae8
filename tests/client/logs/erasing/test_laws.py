"""Laws of an erasure, over random records: what goes, and that all other lines stay as they are."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.client.logs.erasing import erase_session
from tests.support.erasable import (
    ROTATE,
    Message,
    contents,
    event,
    frame,
    gaps_in,
    messages_in,
    status,
    write_record,
)

CODES = ("P01", "P02", "happy", "edge")
STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from([*CODES, None]), max_size=3),
        st.sampled_from(["begin", "end", "restart", "status", "hole", ROTATE]),
        st.tuples(st.sampled_from(["mark", "participant_released"]), st.sampled_from(CODES)),
    ),
    min_size=5,
    max_size=60,
)


@dataclass
class Record:
    """A record, and what belongs to its sessions by construction."""

    messages: list[Message | str] = field(default_factory=list)
    inside: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    faces: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    named: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


def built(steps: list[Any], *, configured: bool) -> Record:
    record = Record()
    epoch, seq, running = 1, 0, ""

    def add(kind: str, codes: frozenset[str] = frozenset(), /, **detail: object) -> None:
        nonlocal seq
        record.messages.append(event(seq, kind, epoch=epoch, **detail))
        note(codes)

    def note(codes: frozenset[str]) -> None:
        nonlocal seq
        record.named[epoch, seq] = set(codes)
        if running:
            record.inside[running].add((epoch, seq))
        seq += 1

    def start() -> None:
        seats = {"left": {"participant": "P02"}} if configured else {}
        codes = frozenset(["P02"] if configured else [])
        add("epoch_started", codes, config={"zones": {"seats": seats}})

    start()
    for step in steps:
        detail = {"session": record.ids.get(running, ""), "name": running}
        if isinstance(step, list):
            codes = frozenset(code for code in step if code)
            record.messages.append(frame(seq, *step, epoch=epoch))
            record.faces[epoch, seq] = set(codes)
            note(codes)
        elif isinstance(step, tuple):
            name, code = step
            key = "text" if name == "mark" else "participant"
            add(name, frozenset([code]), **{key: code})
        elif step == "begin" and not running:
            running = f"name{len(record.ids)}"
            record.ids[running] = f"{len(record.ids):012x}"
            record.inside[running] = set()
            add("session_began", session=record.ids[running], name=running, note=f"note {running}")
        elif step == "end" and running:
            add("session_ended", **detail, participants=[])
            running = ""
        elif step == "restart":
            # the first message of an epoch within a session belongs to it
            epoch, seq = epoch + 1, 0
            start()
            if running:
                add("session_resumed", **detail, restarts=1)
        elif step == "hole":
            seq += 2
        elif step == "status":
            session = record.ids.get(running)
            record.messages.append(status(seq - 1, session, running, epoch=epoch))
        elif step == ROTATE:
            record.messages.append(ROTATE)
    return record


def doomed(record: Record, session: str) -> set[tuple[int, int]]:
    inside = record.inside[session]
    faces = {name: codes_of(record, at) for name, at in record.inside.items()}
    own = faces.pop(session).difference(*faces.values())
    for message in record.messages:
        if not isinstance(message, str) and getattr(message, "event", "") == "epoch_started":
            own -= record.named[message.epoch, message.seq]
    goes = inside | {at for at, codes in record.named.items() if codes & own}
    return goes - {at for at in goes if at[1] == 0}  # which has the configuration


def codes_of(record: Record, inside: set[tuple[int, int]]) -> set[str]:
    return {code for at in inside for code in record.faces.get(at, ())}


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.sqlite", "log.parquet"])
def test_what_is_not_of_the_session_stays_byte_for_byte(name):
    @settings(
        max_examples=12 if name == "log.parquet" else 25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS, st.booleans(), st.data())
    def law(steps: list[Any], configured: bool, data: st.DataObject) -> None:
        record = built(["begin", *steps], configured=configured)
        session = data.draw(st.sampled_from(sorted(record.ids)))
        goes = doomed(record, session)
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / name)
            write_record(out, record.messages, rotate_at=-1)
            check(out, record, session, goes)

    law()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, configured=st.booleans(), data=st.data())
def test_the_same_holds_in_a_database(database, steps, configured, data):
    record = built(["begin", *steps], configured=configured)
    session = data.draw(st.sampled_from(sorted(record.ids)))
    database.execute("DROP SCHEMA IF EXISTS affect CASCADE")
    write_record(database.url, record.messages, rotate_at=-1)
    check(database.url, record, session, doomed(record, session))


def check(out: str, record: Record, session: str, goes: set[tuple[int, int]]) -> None:
    before, gaps_before = contents(out), gaps_in(out)
    erased = erase_session(out, session, lambda _line: None)
    assert (erased.messages, erased.hits) == (len(goes), 0)
    assert erased.outside == len(goes - record.inside[session])
    assert messages_in(out) == sorted(("s", *at) for at in record.named.keys() - goes)
    gaps = gaps_in(out)
    assert [gap for gap in gaps if gap[4] != "erased"] == gaps_before
    found = [
        (epoch, seq)
        for _, epoch, first, last, reason in gaps
        if reason == "erased"
        for seq in range(first, last + 1)
    ]
    assert sorted(found) == sorted(goes)
    for name, rows in contents(out).items():
        if name.endswith(".cursors") or name == "devices":
            continue
        # in their order, and nothing new but the gaps
        remaining = iter(before.get(name, []))
        for row in rows:
            is_old = row in before.get(name, []) and any(row == each for each in remaining)
            assert is_old or "erased" in repr(row), (name, row)
