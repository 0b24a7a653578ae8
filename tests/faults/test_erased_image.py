"""What the file system's own blocks still hold of an erased session; needs root."""

import sqlite3
from pathlib import Path

import pytest

from edge.client.ask import ask
from edge.protocol.requests import (
    AssignRequest,
    BeginSessionRequest,
    EndSessionRequest,
    MarkRequest,
)
from tests.faults.loop_device import LoopDevice, run
from tests.support.daemons import RunningDaemon, affect_edge

NAME, NOTE, CODE = "zebra-quartz-91", "violet lantern seven", "Q83-kestrel"
DEMO = ("--source", "demo", "--set", "source.repeat=0")


def stored(journal: Path) -> set[bytes]:
    """Return parts of the stored, compressed messages."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT data FROM groups").fetchall()
    connection.close()
    return {data[start : start + 32] for (data,) in rows for start in range(32, len(data), 256)}


def count(image: Path, wanted: set[bytes]) -> int:
    """Return how many of the texts are in the image."""
    content = image.read_bytes()
    return sum(each in content for each in wanted)


@pytest.mark.stage
@pytest.mark.parametrize("options", ["discard", "nodiscard"])
def test_the_blocks_of_the_file_system_after_a_session_was_erased(
    tmp_path: Path, options: str
) -> None:
    texts = {each.encode() for each in (NAME, NOTE, CODE)}
    with LoopDevice(64, options=("noatime", "commit=5", options)) as disk:
        journal = ("--set", f'journal.path="{disk.mount}"')
        with RunningDaemon(tmp_path, *DEMO, *journal) as daemon:
            seen = daemon.wait_for(lambda each: each["kind"] == "frame" and bool(each["faces"]))
            first = stored(disk.mount / "journal.sqlite")
            assert ask(daemon.service, BeginSessionRequest(name=NAME, note=NOTE))["ok"]
            track = seen["faces"][0]["track"]
            assert ask(daemon.service, AssignRequest(track=track, participant=CODE))["ok"]
            for number in range(200):
                assert ask(daemon.service, MarkRequest(text=f"{CODE} {number}"))["ok"]
                daemon.wait_for_frame()
            for _ in range(3):  # the journal writes at least once between
                daemon.wait_for(lambda each: each["kind"] == "status")
            assert ask(daemon.service, EndSessionRequest())["ok"]
            packed = stored(disk.mount / "journal.sqlite") - first
            run("sync", "-f", disk.mount)
            before = count(disk.image, texts), count(disk.image, packed)
            erased = affect_edge("erase", "--session", NAME, "--service", daemon.service)
            assert erased.returncode == 0, erased.stdout + erased.stderr
            # messages before and after may compress to the same bytes; what erasing leaves in the
            # journal's own files is another test's matter
            kept = b"".join(each.read_bytes() for each in disk.mount.glob("journal.sqlite*"))
            daemon.stop()
        disk.detach()
        packed = {each for each in packed if each not in kept}
        after = count(disk.image, texts), count(disk.image, packed)
        disk.attach()
        run("fstrim", disk.mount)
        disk.detach()
        trimmed = count(disk.image, texts), count(disk.image, packed)
        print(
            f"\n{options}: of {len(texts)} texts and {len(packed)} parts of stored messages, the"
            f" image held {before} before, {after} after erasing, {trimmed} after fstrim"
        )
        assert before[0] > 0
        assert before[1] > 0
        assert trimmed == (0, 0)
        if options == "discard":
            assert after == (0, 0)
