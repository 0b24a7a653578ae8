"""Damaged files are set aside, kept and reported; the daemon starts in every case."""

import json
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.errors import ConfigError
from edge.hub.journal import Journal, Position
from edge.hub.journal.store import Store
from tests.support.journals import append, memory_folder, read_all, settle
from tests.support.waiting import HANG_S, wait_until


@pytest.fixture
def config(tmp_path: Path) -> Iterator[JournalConfig]:
    tail = memory_folder(tmp_path)
    yield JournalConfig(path=str(tmp_path / "journal"), tail=tail)
    shutil.rmtree(tail, ignore_errors=True)


def record(config: JournalConfig, count: int = 600) -> Journal:
    """Run an epoch with that many messages; return the closed journal."""
    journal = Journal(config)
    for _ in range(count):
        append(journal)
    settle(journal)
    journal.close()
    return journal


def zero_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def not_sqlite(path: Path) -> None:
    path.write_text("hello\n" * 2000)


def newer_schema(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()


def other_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE cats (name)")
    database.close()


def other_stream(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value='other' WHERE key='stream'")
    database.close()


def missing_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE epochs")
    database.close()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def other_owner(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    "damage",
    [zero_head, truncate, not_sqlite, newer_schema, other_program, other_stream, missing_table,
     link, other_owner],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_a_new_stream_begins(
    config: JournalConfig, damage: Callable[[Path], None]
) -> None:
    before = record(config)
    path = Path(config.path) / "journal.sqlite"
    damage(path)
    content = path.read_bytes()
    journal = Journal(config)
    (event,) = journal.take_events()
    assert event.model_dump()["file"] == "journal.sqlite.damaged-1"
    assert "\n" not in event.model_dump()["reason"]
    assert path.with_name("journal.sqlite.damaged-1").read_bytes() == content
    assert journal.stream != before.stream
    assert (journal.epoch, journal.previous) == (1, None)
    sent = [append(journal) for _ in range(10)]
    settle(journal)
    assert read_all(journal) == (sent, [])
    journal.close()
    again = Journal(config)
    assert (again.stream, again.epoch) == (journal.stream, 2)
    assert not again.take_events()
    again.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [12, pytest.param(500, marks=pytest.mark.stage)])
def test_random_damage_never_stops_the_start_nor_gives_a_wrong_message(
    config: JournalConfig, count: int
) -> None:
    record(config)
    path = Path(config.path) / "journal.sqlite"
    good = path.read_bytes()
    identity = Path(config.path, "identity.json").read_bytes()
    chance = random.Random(3)
    for number in range(count):
        data = bytearray(good)
        for _ in range(chance.choice([1, 1, 4, 400])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        Path(config.path, "identity.json").write_bytes(identity)
        started = time.monotonic()
        journal = Journal(config)
        assert time.monotonic() - started < 10
        read_all(journal)  # compares each message
        sent = [append(journal) for _ in range(5)]
        settle(journal)
        assert read_all(journal, Position(journal.epoch, -1))[0] == sent
        journal.close()
        assert not list(Path(config.path).glob("journal.sqlite.damaged-2*")), number
        for kept in Path(config.path).glob("journal.sqlite*"):
            kept.unlink()


def test_a_file_that_is_damaged_while_it_is_used_costs_no_new_message(
    config: JournalConfig,
) -> None:
    journal = Journal(config)
    first = [append(journal) for _ in range(300)]
    settle(journal)
    path = Path(config.path) / "journal.sqlite"
    zero_head(path)
    wal = path.with_name("journal.sqlite-wal")
    wal.write_bytes(bytes(wal.stat().st_size))
    sent: list[Position] = []
    deadline = time.monotonic() + HANG_S
    while not (events := journal.take_events()):
        assert time.monotonic() < deadline
        sent.append(append(journal))
        read_all(journal, first[-1])
        time.sleep(0.05)
    assert "journal_set_aside" in [event.event for event in events]
    settle(journal)
    found, gaps = read_all(journal)
    assert found[0] == Position(1, 0), "the first message of the epoch is in the new file, too"
    (gap,) = gaps
    assert (gap.first_missing, gap.reason) == (1, "damaged")
    assert gap.last_missing is not None
    assert found[1:] == [each for each in sent if each.seq > gap.last_missing]
    journal.close()


def test_a_truncated_log_is_survived(config: JournalConfig) -> None:
    """As after a power cut: a prefix of the commits is there, and the rest is a counted gap."""
    journal = Journal(config)
    for _ in range(20):
        for _ in range(10):
            append(journal)
        settle(journal)
    path = Path(config.path)
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    journal.close()
    wal = copy / "journal.sqlite-wal"
    size = wal.stat().st_size
    for share in (0.0, 0.5, 0.99):
        shutil.rmtree(path)
        shutil.copytree(copy, path)
        os.truncate(path / "journal.sqlite-wal", int(size * share))
        identity = json.loads((path / "identity.json").read_text())
        identity["boot_id"] = "an earlier boot"
        (path / "identity.json").write_text(json.dumps(identity))
        again = Journal(config)
        if again.epoch == 1:  # nothing of the file was left
            assert share == 0.0
            again.close()
            continue
        assert again.previous is not None
        last = again.previous.last_seq
        (gap,) = again.take_events()
        assert gap.model_dump() == {
            "epoch": 1, "first_missing": last + 1, "last_missing": None, "reason": "power_cut",
        }  # fmt: skip
        found, gaps = read_all(again)
        assert found == [Position(1, seq) for seq in range(last + 1)]
        append(again)
        found, gaps = read_all(again, Position(1, -1))
        assert [(gap.first_missing, gap.last_missing) for gap in gaps] == [(last + 1, None)]
        again.close()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"stream": "x", "epoch": 1}', "\0", "[" * 9999]
)
def test_a_damaged_identity_begins_a_new_stream(config: JournalConfig, content: str) -> None:
    before = record(config, 10)
    Path(config.path, "identity.json").write_text(content)
    journal = Journal(config)
    assert journal.stream != before.stream
    assert journal.epoch == 1
    kept = {event.model_dump()["file"] for event in journal.take_events()}
    assert kept == {"identity.json.damaged-1", "journal.sqlite.damaged-1"}
    assert Path(config.path, "identity.json.damaged-1").read_text() == content
    journal.close()


def test_a_second_daemon_in_the_folder_is_refused_and_harms_nothing(config: JournalConfig) -> None:
    journal = Journal(config)
    sent = [append(journal) for _ in range(10)]
    with pytest.raises(ConfigError, match="in use by another daemon"):
        Journal(config)
    sent += [append(journal) for _ in range(10)]
    assert read_all(journal) == (sent, [])
    journal.close()


def test_storage_that_hangs_delays_neither_start_nor_append_nor_stop(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(config, 10)
    hangs, answers, commit = threading.Event(), threading.Event(), Store.commit

    def slow_commit(self: Store, *args: object, **options: object) -> None:
        hangs.set()
        answers.wait()
        commit(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", slow_commit)
    monkeypatch.setattr("edge.hub.journal.journal.SLOW_S", 0.5)
    journal = Journal(config)
    sent = [append(journal) for _ in range(200)]
    assert hangs.wait(HANG_S), "opening is done: from now on the storage answers no more"
    wait_until(lambda: journal.state()[0] == "memory")
    assert "not answered" in journal.state()[1]
    assert [event.event for event in journal.take_events()] == ["journal_state"]
    assert read_all(journal, Position(2, -1))[0] == sent, "from memory"
    journal.close()  # although the storage has not answered yet
    answers.set()
    monkeypatch.undo()
    again = Journal(config)
    assert again.previous is not None
    assert again.previous.last_seq == 199
    assert read_all(again, Position(2, -1))[0] == sent, "from the tail"
    again.close()
