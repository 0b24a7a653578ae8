"""The disk is full, or fails: the journal keeps on in memory, and all is stored later."""

import subprocess
import time
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.hub.journal import Journal
from tests.faults.loop_device import LoopDevice
from tests.support.journals import append, read_all
from tests.support.waiting import QuietTime

pytestmark = [pytest.mark.stage, pytest.mark.timeout(300)]


def wait_for_state(journal: Journal, state: str, timeout_s: float) -> float:
    """Append until the journal has the state; return the seconds that took."""
    started = QuietTime()
    while journal.state()[0] != state:
        append(journal)
        assert started.elapsed_s < timeout_s, journal.state()
        time.sleep(0.01)
    return started.elapsed_s


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with LoopDevice(24) as disk:
        journal = Journal(JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail")))
        filler = disk.mount / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False, stderr=-3)
        wait_for_state(journal, "memory", 60)
        assert "full" in journal.state()[1]
        for _ in range(5000):
            append(journal)
        (event,) = journal.take_events()
        assert event.event == "journal_state"
        filler.unlink()
        took_s = wait_for_state(journal, "ok", 10)
        print(f"\nfull disk: stored again {took_s:.1f} s after there was space")
        journal.close()
        again = Journal(JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail")))
        found, gaps = read_all(again)
        assert not gaps
        assert [each.seq for each in found] == list(range(len(found)))
        assert again.previous is not None
        assert again.previous.last_seq == len(found) - 1
        again.close()


def test_a_start_on_a_full_disk_continues_the_stream(tmp_path: Path) -> None:
    with LoopDevice(24) as disk:
        config = JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail"))
        journal = Journal(config)
        for _ in range(100):
            append(journal)
        journal.close()
        filler = disk.mount / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, stderr=-3)
        again = Journal(config)
        assert (again.stream, again.epoch) == (journal.stream, 2)
        for _ in range(100):
            append(again)
        filler.unlink()
        wait_for_state(again, "ok", 10)
        again.close()
        last = Journal(config)
        assert not [gap for gap in read_all(last)[1] if gap.reason != "trimmed"]
        assert last.previous is not None
        assert last.previous.last_seq >= 99
        last.close()


def test_what_a_failed_disk_did_not_take_is_stored_by_the_next_start(tmp_path: Path) -> None:
    with LoopDevice(24) as disk:
        config = JournalConfig(path=str(disk.mount / "j"), tail=str(tmp_path / "tail"))
        journal = Journal(config)
        for _ in range(100):
            append(journal)
        wait_for_state(journal, "ok", 5)
        disk.cut_power()  # every access fails from now on
        took_s = wait_for_state(journal, "memory", 5)
        print(f"\nfailed disk: noticed after {took_s:.1f} s")
        for _ in range(1000):
            append(journal)
        journal.close()
        disk.detach()
        disk.attach()
        again = Journal(config)
        assert not again.take_events()
        found, gaps = read_all(again)
        assert not gaps
        assert again.previous is not None
        assert again.previous.last_seq == journal.newest.seq
        assert [each.seq for each in found] == list(range(journal.newest.seq + 1))
        again.close()
