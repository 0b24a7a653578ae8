"""Storage that drops what is written to it, and reports success: noticed, and survived."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.hub.journal import Journal, readback
from edge.hub.journal.readback import Readback
from tests.faults.discarding_device import DiscardingDevice
from tests.support.journals import append, read_all, settle
from tests.support.waiting import HANG_S


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back at each tick of the journal's thread."""
    monkeypatch.setattr(readback, "EVERY_S", 0.0)


def append_until(journal: Journal, state: str) -> int:
    """Append until the journal has the state; return how many messages that took."""
    deadline = time.monotonic() + HANG_S
    count = 0
    while journal.state()[0] != state:
        append(journal)
        count += 1
        assert time.monotonic() < deadline, journal.state()
        time.sleep(0.005)
    return count


@contextlib.contextmanager
def opened(config: JournalConfig) -> Iterator[Journal]:
    """Open a journal, and close it, also after a failure: else its disk stays busy."""
    journal = Journal(config)
    try:
        yield journal
    finally:
        journal.close()


def test_a_device_that_drops_writes_is_noticed_and_used_again(tmp_path: Path) -> None:
    with DiscardingDevice(24) as disk:
        config = JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail"))
        with opened(config) as journal:
            for _ in range(500):
                append(journal)
            settle(journal)
            assert journal.state() == ("ok", "")
            disk.discards = True
            append_until(journal, "memory")
            reason = journal.state()[1]
            assert "the device drops what is written to it" in reason
            (event,) = journal.take_events()
            assert event.model_dump() == {"state": "memory", "reason": reason}
            for _ in range(500):
                append(journal)
            assert journal.status().state == "memory"
            found, gaps = read_all(journal)  # as the kernel remembers it
            assert (len(found), gaps) == (journal.newest.seq + 1, [])
            disk.discards = False
            back = journal.newest.seq
            append_until(journal, "ok")
            settle(journal)
        disk.detach()  # forgets what the kernel remembers
        disk.attach()
        with opened(config) as again:
            found, gaps = read_all(again)
        numbers = {position.seq for position in found if position.epoch == journal.epoch}
        assert set(range(back, journal.newest.seq + 1)) <= numbers
        missing = set(range(journal.newest.seq + 1)) - numbers
        assert all(any(gap.holds(journal.epoch, number) for gap in gaps) for number in missing)


def test_a_device_that_drops_writes_from_the_start_is_noticed(tmp_path: Path) -> None:
    """Such as a card that has become read-only inside, after a restart of the board."""
    with DiscardingDevice(24) as disk:
        config = JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail"))
        disk.discards = True
        with opened(config) as journal:
            append(journal)
            append_until(journal, "memory")
        assert list((tmp_path / "tail").glob("tail-*")), "the tail keeps what is not stored"


def test_good_storage_is_never_doubted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = Readback._compare

    def counted(self: Readback, descriptor: int) -> None:
        compare(self, descriptor)
        compared.append(self._offset)

    monkeypatch.setattr(Readback, "_compare", counted)
    monkeypatch.setattr(readback, "PART_BYTES", 16 << 10)
    journal = Journal(JournalConfig(path=str(tmp_path / "j"), tail=str(tmp_path / "tail")))
    while len(compared) < 10 or len(set(compared)) < 4:  # the parts of the log take turns
        for _ in range(200):
            append(journal)
        time.sleep(0.02)
        assert journal.state() == ("ok", "")
    journal.close()
    names = {path.name for path in (tmp_path / "j").iterdir()}
    assert names == {"identity.json", "journal.sqlite", "lock"}


def test_without_direct_reads_the_journal_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def without_direct(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return opened(path, flags, *mode)

    monkeypatch.setattr(readback.os, "open", without_direct)
    journal = Journal(JournalConfig(path=str(tmp_path / "j"), tail=str(tmp_path / "tail")))
    for _ in range(100):
        append(journal)
    settle(journal)
    assert journal.state() == ("ok", "")
    journal.close()
