"""Retention, acknowledgements, memory, erasure: what the journal promises its consumers."""

import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.hub.journal import Journal, MissingRange, Position, retention
from edge.hub.journal import journal as journal_module
from edge.hub.journal import writer as writer_module
from edge.hub.journal.collector import JournalCollector
from edge.hub.journal.consumers import AWAY_S, KEEPING_UP_S, MAX_CONSUMERS, Consumers
from edge.hub.journal.entries import Entry, into_groups
from edge.hub.journal.memory import Memory
from edge.hub.journal.tail import Tail
from edge.protocol.events import JournalGap
from tests.support.journals import append, body, memory_folder, read_all, settle
from tests.support.left_files import content_of
from tests.support.waiting import wait_until


@pytest.fixture
def config(tmp_path: Path) -> Iterator[JournalConfig]:
    tail = memory_folder(tmp_path)
    yield JournalConfig(path=str(tmp_path / "journal"), tail=tail)
    shutil.rmtree(tail, ignore_errors=True)


def test_a_clean_stop_stores_everything_and_leaves_no_tail(config: JournalConfig) -> None:
    journal = Journal(config)
    assert (journal.epoch, journal.previous, journal.oldest) == (1, None, None)
    sent = [append(journal) for _ in range(700)]
    journal.close()
    assert not list(Path(config.tail).iterdir())
    again = Journal(config)
    assert again.previous is not None
    assert again.previous.model_dump() == {"epoch": 1, "last_seq": 699, "ended": True}
    assert not again.take_events()
    assert read_all(again) == (sent, [])
    assert again.oldest == Position(1, 0)
    again.close()


def test_nobody_else_can_read_a_journal_in_a_folder_that_was_there(config: JournalConfig) -> None:
    Path(config.path).mkdir(mode=0o755)
    journal = Journal(config)
    append(journal)
    settle(journal)
    modes = {path.name: path.stat().st_mode & 0o077 for path in Path(config.path).iterdir()}
    journal.close()
    assert "journal.sqlite" in modes
    assert not any(modes.values()), modes


def test_without_a_folder_the_newest_messages_are_kept_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "MEMORY_ONLY_BYTES", 100_000)
    journal = Journal(JournalConfig())
    sent = [append(journal) for _ in range(1000)]
    found, (gap,) = read_all(journal)
    assert found[0] == Position(1, 0), "the first message tells purpose and configuration"
    assert gap.last_missing is not None
    assert gap == MissingRange(1, 1, gap.last_missing, "trimmed")
    assert found[1:] == sent[gap.last_missing + 1 :]
    assert 200 < len(found) < 1000
    assert journal.state() == ("ok", "")
    assert not journal.take_events()
    journal.close()


def test_acknowledgements_survive_a_restart(config: JournalConfig) -> None:
    journal = Journal(config)
    for _ in range(10):
        append(journal)
    journal.acknowledge("log", Position(1, 4))
    journal.acknowledge("other", Position(9, 9))  # from the future: what there is
    assert journal.status().consumers["log"].lag == 5
    journal.close()
    again = Journal(config)
    assert {name: each.position for name, each in again._consumers.all(0).items()} == {
        "log": Position(1, 4), "other": Position(1, 9),
    }  # fmt: skip
    again.close()


def test_consumers_that_keep_up_let_the_journal_write_less_often() -> None:
    consumers = Consumers()
    for tick in range(300):
        second, newest = tick // 5, Position(1, 2 * tick)
        if second >= 20:
            consumers.acknowledge("log", Position(1, 2 * tick - 10), second)
        if second >= 40:
            consumers.acknowledge("slow", Position(1, 400), second)
        # a second is a whole one of the journal's clock
        expected = 20 <= second < 40 + KEEPING_UP_S - 1
        assert consumers.keep_up(newest, second) == expected, tick


def test_a_new_consumer_replaces_the_one_that_is_away_for_longest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A logger of a new file each day has a new name each day: the 65th was not noted."""
    consumers = Consumers()
    for number in range(MAX_CONSUMERS + 1):
        consumers.acknowledge(f"log-{number}", Position(1, number), number)
    assert f"log-{MAX_CONSUMERS}" not in consumers.all(100), "all others are there"
    assert "more than 64 consumers" in caplog.text
    for number in range(MAX_CONSUMERS + 5):
        consumers.acknowledge(f"log-{number}", Position(1, number), 2 * AWAY_S + number)
    known = consumers.all(3 * AWAY_S)
    assert len(known) == MAX_CONSUMERS
    assert "log-0" in known
    consumers.acknowledge("new", Position(1, 0), 4 * AWAY_S)
    known = consumers.all(4 * AWAY_S)
    assert "new" in known
    assert "log-0" not in known
    assert "log-0, last seen 2 h ago, is forgotten" in caplog.text


def test_what_a_known_consumer_lacks_is_kept_until_the_size_is_exceeded(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIM_S", 0.05)
    journal = Journal(config.model_copy(update={"keep_h": 1e-9}))
    journal.acknowledge("log", Position(1, -1))
    sent = [append(journal) for _ in range(3000)]
    settle(journal)
    time.sleep(1.1)  # the journal's clock has seconds
    append(journal)
    settle(journal)
    assert read_all(journal)[0][: len(sent)] == sent
    journal.acknowledge("log", Position(1, 2000))
    wait_until(lambda: journal.oldest is not None and journal.oldest.seq > 1500)
    found, (gap,) = read_all(journal, Position(1, -1))
    assert found[0] == Position(1, 0)
    assert gap.reason == "trimmed"
    assert gap.last_missing is not None
    assert gap.last_missing <= 2000
    assert not journal.take_events(), "it was read: no loss"
    writer = journal._writer
    assert writer is not None
    object.__setattr__(writer.retention._limits, "max_bytes", 1)
    wait_until(lambda: journal.gap_counts.get("trimmed", 0) > 500)
    (event,) = journal.take_events()
    assert event.event == "journal_gap"
    assert event.model_dump()["first_missing"] == 2001
    journal.close()


def test_messages_that_memory_cannot_hold_are_a_counted_gap(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RING_BYTES", 50_000)
    journal = Journal(config)
    settle(journal)
    writer = journal._writer
    assert writer is not None
    assert writer.store is not None
    fails, commit = True, writer.store.commit

    def failing(*args: object, **options: object) -> None:
        if fails:
            raise OSError("database or disk is full")
        commit(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("edge.hub.journal.store.Store.commit", lambda _, *a, **o: failing(*a, **o))
    monkeypatch.setattr(writer_module.Writer, "_open", lambda *_: None)
    sent = [append(journal) for _ in range(400)]
    wait_until(lambda: journal.state()[0] == "memory")
    assert "full" in journal.state()[1]
    sent += [append(journal) for _ in range(400)]
    (tail,) = Path(config.tail).iterdir()
    assert sum(path.stat().st_size for path in tail.iterdir()) < 600_000
    fails = False
    settle(journal)
    found, gaps = read_all(journal)
    (gap,) = gaps
    assert gap.reason == "overflow"
    assert gap.last_missing is not None
    assert found == [sent[0], *sent[gap.last_missing + 1 :]]
    assert gap.first_missing == 1
    names = [event.event for event in journal.take_events()]
    assert "journal_gap" in names
    assert journal.gap_counts == {"overflow": gap.last_missing + 1}
    journal.close()


def test_erased_messages_are_in_no_file_any_more(config: JournalConfig) -> None:
    journal = Journal(config)
    for _ in range(3000):
        append(journal)
    settle(journal)
    for _ in range(100):
        append(journal)
    with sqlite3.connect(Path(config.path) / "journal.sqlite") as database:
        rows = database.execute("SELECT id, last_seq, data FROM groups").fetchall()
    database.close()
    ranges = [(Position(1, 300), Position(1, 1700)), (Position(1, 2000), Position(1, 2000))]
    assert journal.erase(ranges) == 1402
    found, gaps = read_all(journal, Position(1, -1))
    erased = {Position(1, seq) for seq in [*range(300, 1701), 2000]}
    assert found == [each for seq in range(3100) if (each := Position(1, seq)) not in erased]
    assert {gap.reason for gap in gaps} == {"erased"}
    missing = {
        Position(1, seq)
        for gap in gaps
        for seq in range(gap.first_missing, (gap.last_missing or 0) + 1)
    }
    assert missing == erased
    # the groups that lay wholly within are in no file, nor is the text of a message in the tail
    files = [*Path(config.path).iterdir(), *Path(config.tail).rglob("*.tail")]
    content = b"".join(map(content_of, files))
    within = [
        data for key, last, data in rows
        if key & 0xFFFFFFFF >= 300 and last <= 1700
    ]  # fmt: skip
    assert len(within) > 3
    for data in within:
        for start in range(100, len(data) - 16, 300):
            assert data[start : start + 16] not in content
    assert body(1, 1000) not in content
    append(journal)
    journal.close()
    again = Journal(config)
    assert again.previous is not None
    assert again.previous.last_seq == 3100
    assert read_all(again, Position(1, 299))[0][0] == Position(1, 1701)
    assert Journal(JournalConfig()).erase(ranges) == 0
    again.close()


def test_a_group_holds_only_consecutive_messages_of_one_epoch() -> None:
    seqs = [(1, 0), (1, 1), (1, 3), (2, 4), (2, 5)]
    groups = list(into_groups([Entry(*at, 0, body(*at)) for at in seqs], b""))
    assert [(each.epoch, each.first_seq, each.last_seq) for each in groups] == [
        (1, 0, 1), (1, 3, 3), (2, 4, 5),
    ]  # fmt: skip


def test_the_tail_gives_back_what_was_written_up_to_a_torn_record(tmp_path: Path) -> None:
    entries = [Entry(3, seq, seq, body(3, seq)) for seq in range(2000)]
    tail = Tail(str(tmp_path), "stream", {})
    for entry in entries:
        tail.append(entry)
    segments = sorted(tail.folder.iterdir(), key=lambda path: int(path.stem.split("-")[1]))
    assert len(segments) > 1
    with segments[-1].open("ab") as file:
        file.write(b"\x40\0\0\0torn")
    again = Tail(str(tmp_path), "stream", {})
    assert again.recover() == entries
    again.discard(entries[1990].position)
    left = Tail(str(tmp_path), "stream", {}).recover()
    assert left == entries[2000 - len(left) :]
    assert 9 <= len(left) < 2000


def test_the_tail_lies_in_a_private_folder_of_its_stream(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    tail = Tail("", "stream", {"RUNTIME_DIRECTORY": f"{runtime}:/other"})
    assert tail.folder == runtime / "tail-stream"
    assert tail.folder.stat().st_mode & 0o777 == 0o700
    tail.append(Entry(1, 0, 0, b"{}"))
    assert [path.stat().st_mode & 0o777 for path in tail.folder.iterdir()] == [0o600]
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        Tail(str(tmp_path / "link"), "stream", {})


def test_the_tail_lies_in_the_runtime_directory_of_a_dynamic_user(tmp_path: Path) -> None:
    """systemd makes /run/private/NAME, and /run/NAME a link to it."""
    (tmp_path / "private").mkdir()
    (tmp_path / "affect-edge").symlink_to(tmp_path / "private")
    tail = Tail("", "stream", {"RUNTIME_DIRECTORY": str(tmp_path / "affect-edge")})
    assert tail.folder == tmp_path / "private" / "tail-stream"


def test_a_tail_that_cannot_be_made_is_reported_and_the_journal_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(JournalConfig(path=str(tmp_path / "j"), tail=str(tmp_path / "file")))
    sent = [append(journal) for _ in range(20)]
    settle(journal)
    state, reason = journal.state()
    assert state == "ok"
    assert reason.startswith("tail: ")
    journal.close()
    again = Journal(JournalConfig(path=str(tmp_path / "j"), tail=str(tmp_path / "file")))
    assert read_all(again) == (sent, [])
    again.close()


def test_every_reason_of_a_gap_is_a_metric_from_the_start() -> None:
    """Of a counter that appears with its first gap, Prometheus sees no increase."""
    journal = Journal(JournalConfig())
    (gaps,) = [each for each in JournalCollector(journal).collect() if each.name.endswith("_gap")]
    found = {sample.labels["reason"]: sample.value for sample in gaps.samples}
    text = JournalGap.__doc__ or ""
    reasons = set(re.findall(r"``(\w+)``", text)) - {"last_missing", "reason"}
    assert found == dict.fromkeys(reasons, 0)
    assert "unknown" in found


def test_memory_reports_what_it_dropped_once() -> None:
    memory = Memory(2, limit=10_000)
    memory.prepend([Entry(1, seq, 0, bytes(100)) for seq in range(5, 25)])  # of a killed epoch
    for seq in range(100):
        memory.append(Entry(2, seq, 0, bytes(100)))
    assert memory.oldest is not None
    assert memory.take_lost() == [
        MissingRange(1, 5, 24, "overflow"),
        MissingRange(2, 0, memory.oldest.seq - 1, "overflow"),
    ]
    assert memory.take_lost() == []


def test_a_mistake_in_the_thread_ends_the_daemon_and_the_next_start_has_all(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    journal = Journal(config)
    with monkeypatch.context() as broken:
        broken.setattr("edge.hub.journal.store.Store.commit", fail)
        sent = [append(journal) for _ in range(10)]
        with pytest.raises(RuntimeError, match="thread ended"):
            wait_until(lambda: journal.take_events() == [None])
    journal.close()
    again = Journal(config)
    assert read_all(again) == (sent, [])
    again.close()


def test_cursors_beyond_every_number_are_answered(config: JournalConfig) -> None:
    first = Journal(config)
    sent = [append(first) for _ in range(10)]
    first.close()
    journal = Journal(config)
    sent = [append(journal) for _ in range(10)]
    settle(journal)
    assert journal.oldest == Position(1, 0)
    assert read_all(journal, Position(1, 2**53)) == (sent, [])
    for beyond in (Position(2, 2**53), Position(2**53, 2**53)):
        batch = journal.read(beyond, max_messages=10, max_bytes=1000)
        assert (batch.count, batch.next, batch.caught_up) == (0, beyond, True)
    journal.close()


def test_an_identity_that_cannot_be_written_leaves_a_journal_in_memory(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal(config)
    sent = [append(first) for _ in range(10)]
    first.close()

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as read_only:
        read_only.setattr("os.replace", refuse)
        journal = Journal(config)
        assert journal.stream != first.stream
        state, reason = journal.state()
        assert (state, "Read-only" in reason) == ("memory", True)
        assert [event.event for event in journal.take_events()] == ["journal_state"]
        in_memory = [append(journal) for _ in range(5)]
        assert read_all(journal) == (in_memory, [])
        assert journal.status().pending == 5
        journal.close()
    again = Journal(config)
    assert (again.stream, again.epoch) == (first.stream, 2)
    assert read_all(again) == (sent, [])
    again.close()


def test_an_epoch_that_was_killed_before_its_first_message_lost_nothing(
    config: JournalConfig,
) -> None:
    first = Journal(config)
    sent = [append(first) for _ in range(3)]
    first.close()
    killed = Journal(config)  # as after SIGKILL: it lets go of the folder, and does no more
    assert killed._writer is not None
    killed._writer.close = lambda _: False  # type: ignore[method-assign]
    killed.close()
    again = Journal(config)
    assert again.epoch == 3
    assert not again.take_events()
    sent.append(append(again))
    assert read_all(again, Position(1, -1)) == (sent, [])
    assert read_all(again, Position(2, -1)) == (sent[-1:], [])
    again.close()
