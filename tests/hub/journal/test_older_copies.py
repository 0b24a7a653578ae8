"""Journals that were copied, restored, deleted or damaged: no number twice, no silent hole."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.hub.journal import Journal, MissingRange, Position
from edge.hub.journal.consumers import Consumers
from edge.hub.journal.entries import Entry
from edge.hub.journal.retention import Limits, Retention
from edge.hub.journal.store import NAME, Store
from edge.protocol.events import JournalGap, JournalSetAside
from tests.support.journals import append, body, memory_folder, read_all, settle


@pytest.fixture
def config(tmp_path: Path) -> Iterator[JournalConfig]:
    tail = memory_folder(tmp_path)
    yield JournalConfig(path=str(tmp_path / "journal"), tail=tail)
    shutil.rmtree(tail, ignore_errors=True)


def run(config: JournalConfig, count: int) -> str:
    """Append messages in an epoch that ends cleanly; return the stream."""
    journal = Journal(config)
    for _ in range(count):
        append(journal)
    journal.close()
    return journal.stream


def run_killed(config: JournalConfig, count: int) -> None:
    """Append messages in a process that is killed."""
    child = os.fork()
    if child == 0:
        journal = Journal(config)
        for _ in range(count):
            append(journal)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_an_older_copy_of_the_folder_begins_a_new_stream(
    config: JournalConfig, tmp_path: Path
) -> None:
    """The tail holds a later epoch: new messages with its numbers would count as stored."""
    stream = run(config, 10)
    shutil.copytree(config.path, tmp_path / "copy")
    for _ in range(2):
        run_killed(config, 50)
    shutil.rmtree(config.path)
    shutil.copytree(tmp_path / "copy", config.path)
    journal = Journal(config)
    sent = [append(journal) for _ in range(20)]
    settle(journal)
    assert journal.stream != stream
    (event,) = journal.take_events()
    assert isinstance(event, JournalSetAside)
    assert "older copy" in event.reason
    assert read_all(journal) == (sent, [])
    journal.close()
    assert list(Path(config.path).glob(f"{NAME}.damaged-1.*.tail")), "the tail is kept, too"


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_older_copy_of_the_file_is_an_unknown_gap(
    config: JournalConfig, tmp_path: Path, is_killed: bool
) -> None:
    run(config, 10)
    journal = Journal(config)
    for _ in range(20):
        append(journal)
    settle(journal)
    shutil.copytree(config.path, tmp_path / "copy")
    append(journal)
    journal.close()
    (run_killed if is_killed else run)(config, 5)
    run(config, 5)
    for file in (tmp_path / "copy").glob(f"{NAME}*"):
        shutil.copy(file, config.path)
    journal = Journal(config)
    append(journal)
    found, gaps = read_all(journal, Position(2, 15))
    assert found == [*(Position(2, seq) for seq in range(16, 20)), Position(5, 0)]
    assert gaps == [
        MissingRange(2, 20, None, "unknown"),
        MissingRange(3, 0, None, "unknown"),
        MissingRange(4, 0, None, "unknown"),
    ]
    journal.close()


def test_a_file_that_was_deleted_is_an_unknown_gap(config: JournalConfig) -> None:
    run(config, 10)
    run(config, 10)
    for file in Path(config.path).glob(f"{NAME}*"):
        file.unlink()
    journal = Journal(config)
    append(journal)
    found, gaps = read_all(journal, Position(1, 9))
    assert found == [Position(3, 0)]
    assert gaps == [MissingRange(1, 10, None, "unknown"), MissingRange(2, 0, None, "unknown")]
    journal.close()


def test_a_killed_epoch_whose_tail_was_stored_is_complete(config: JournalConfig) -> None:
    run_killed(config, 50)
    for _ in range(3):
        run(config, 2)
        run_killed(config, 0)
    journal = Journal(config)
    append(journal)
    found, gaps = read_all(journal)
    assert gaps == []
    assert [each for each in found if each.epoch == 1] == [Position(1, seq) for seq in range(50)]
    assert found[-1].epoch == 8
    journal.close()


def test_a_tail_that_could_not_be_written_is_an_unknown_end(config: JournalConfig) -> None:
    """The last messages in the tail were taken for the last ones of the killed process."""
    child = os.fork()
    if child == 0:
        journal = Journal(config)
        append(journal)
        settle(journal)
        full = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, full[1]))
        for _ in range(400):  # neither the file nor the tail can grow
            append(journal)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    journal = Journal(config)
    append(journal)
    settle(journal)
    found, gaps = read_all(journal)
    events = [each for each in journal.take_events() if isinstance(each, JournalGap)]
    assert len(events) == len(gaps)
    assert {gap.reason for gap in gaps} == {"tail_lost"}
    assert gaps[-1].last_missing is None
    numbers = [each.seq for each in found[:-1]]
    for gap in gaps[:-1]:
        assert gap.last_missing is not None
        numbers += range(gap.first_missing, gap.last_missing + 1)
    assert sorted(numbers) == list(range(gaps[-1].first_missing))
    journal.close()
    assert not list(Path(config.tail).iterdir())
    again = Journal(config)
    assert not again.take_events()
    again.close()


def test_the_epochs_of_a_stream_that_was_set_aside_are_not_those_of_the_new_one(
    config: JournalConfig,
) -> None:
    for _ in range(3):
        run(config, 10)
    run_killed(config, 10)
    (Path(config.path) / NAME).write_bytes(b"SQLite format 3\0" + bytes(5000))
    journal = Journal(config)
    append(journal)
    settle(journal)
    journal.close()
    store = Store(Path(config.path) / NAME, journal.stream, check_s=2)
    assert [store.epoch(number) is not None for number in range(1, 6)] == [True, *[False] * 4]
    assert [store.gap(number, 0) for number in range(1, 6)] == [None] * 5
    store.close()
    assert list(Path(config.path).glob(f"{NAME}.damaged-1.*.tail")), "the tail is kept there"
    assert not list(Path(config.tail).iterdir()), "and is in memory no more"


def test_a_start_without_storage_leaves_the_tail_of_the_stream_as_it_was(
    config: JournalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages have another stream, but were left in the tail of this one."""

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    run(config, 3)
    with monkeypatch.context() as read_only:
        read_only.setattr("edge.hub.identity._write", refuse)
        run_killed(config, 20)
    journal = Journal(config)
    assert journal.epoch == 2
    append(journal)
    settle(journal)
    assert read_all(journal) == ([*(Position(1, seq) for seq in range(3)), Position(2, 0)], [])
    journal.close()
    run_killed(config, 20)
    with monkeypatch.context() as read_only:
        read_only.setattr("edge.hub.identity._write", refuse)
        run(config, 5)
    journal = Journal(config)
    assert read_all(journal, Position(3, -1))[0] == [Position(3, seq) for seq in range(20)]
    journal.close()


def test_trimming_deletes_no_more_than_what_is_too_much(tmp_path: Path) -> None:
    """A fixed number of groups was the whole of a small journal."""
    store = Store(tmp_path / NAME, "s", check_s=2)
    for first in range(0, 40_000, 200):
        entries = [Entry(1, seq, seq, body(1, seq)) for seq in range(first, first + 200)]
        store.commit(entries, run_s=0)
    limit = store.used_bytes() - 100_000
    retention = Retention(Limits(1e9, limit), Consumers(), lambda: 0, lambda _gap: None)
    while store.used_bytes() > limit:
        before = store.used_bytes()
        retention.run(store, trims=True)
        assert store.used_bytes() < before
    assert limit - 100_000 < store.used_bytes()
    store.close()
