"""The journal of a real daemon: killed, restarted, and read."""

import json
import shutil
import signal
from pathlib import Path

from edge.config import JournalConfig
from edge.hub.journal import BEFORE_ALL, Journal
from tests.support.daemons import RunningDaemon
from tests.support.journals import memory_folder


def stored(folder: Path, tail: str) -> list[dict[str, object]]:
    """Return all messages of the first epochs, and fail if there is a gap."""
    journal = Journal(JournalConfig(path=str(folder), tail=tail))
    messages: list[dict[str, object]] = []
    after = BEFORE_ALL
    while True:
        batch = journal.read(after, max_messages=500, max_bytes=1 << 20)
        assert batch.gap is None
        messages += [json.loads(line) for line in batch.lines.split(b"\n") if line]
        after = batch.next
        if batch.caught_up:
            journal.close()
            return messages


def test_what_a_killed_daemon_published_is_in_the_journal(tmp_path: Path) -> None:
    tail = memory_folder(tmp_path)
    folder = tmp_path / "journal"
    keys = ("--set", f'journal.path="{folder}"', "--set", f'journal.tail="{tail}"')
    received: list[dict[str, object]] = []
    try:
        for start in range(3):
            with RunningDaemon(
                tmp_path, "--source", "demo", "--set", "source.repeat=0", *keys, high_water=0
            ) as daemon:
                for _ in range(20):
                    daemon.wait_for_frame()
                if start == 1:
                    status = daemon.wait_for(lambda m: m["kind"] == "status")
                    assert status["journal"]["state"] == "ok"
                    assert status["journal"]["oldest"]["epoch"] == 1
                    assert status["oldest_seq"] == 0
                if start < 2:
                    daemon.process.send_signal(signal.SIGKILL)
                    daemon.process.wait()
                    while daemon.receive(0.2) is not None:
                        pass
                else:
                    assert daemon.stop()[0] == 0
                received += [m for m in daemon.messages if m["kind"] != "status"]
                Path(daemon.service.removeprefix("ipc://")).unlink(missing_ok=True)
        messages = stored(folder, tail)
        by_position = {(m["epoch"], m["seq"]): m for m in messages}
        assert len(by_position) == len(messages)
        for message in received:
            message.pop("received_ns")
            assert by_position[message["epoch"], message["seq"]] == message
        firsts = [m for m in messages if m["seq"] == 0]
        assert [m["event"] for m in firsts] == ["epoch_started"] * 3
        previous = [m["detail"]["previous"] for m in firsts]  # type: ignore[index]
        assert previous[0] is None
        for number in (1, 2):
            last = max(m["seq"] for m in messages if m["epoch"] == number)  # type: ignore[type-var]
            assert previous[number] == {"epoch": number, "last_seq": last, "ended": False}
        assert messages[-1]["event"] == "epoch_ended"
        assert not [m for m in messages if m.get("event") == "journal_gap"]
    finally:
        shutil.rmtree(tail, ignore_errors=True)
