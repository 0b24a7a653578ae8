"""The daemon's process is killed again and again: nothing that was published is missing."""

import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from edge.config import JournalConfig
from edge.hub.journal import Journal
from tests.support.journals import (
    append_until_killed,
    memory_folder,
    positions_in,
    read_all,
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [24, pytest.param(500, marks=pytest.mark.stage)])
def test_a_killed_process_loses_nothing_that_was_published(tmp_path: Path, kills: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.journals"])
    tail = memory_folder(tmp_path)
    published_path = tmp_path / "published"
    published = os.open(published_path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    random.seed(7)
    try:
        for number in range(kills):
            before = published_path.stat().st_size
            process = context.Process(
                target=append_until_killed_at,
                args=(str(tmp_path / "journal"), tail, str(published_path), 2000.0),
            )
            process.start()
            while published_path.stat().st_size == before:
                assert process.is_alive(), number
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.4))
            process.kill()
            process.join()
        sent = positions_in(published_path.read_bytes())
        journal = Journal(JournalConfig(path=str(tmp_path / "journal"), tail=tail))
        assert journal.epoch == kills + 1
        assert journal.previous is not None
        assert journal.previous.last_seq >= sent[-1].seq
        assert not journal.take_events(), "nothing was lost"
        found, gaps = read_all(journal)
        journal.close()
        assert not gaps
        # a message that was appended and not sent may be there, too
        assert set(found) >= set(sent)
        assert len(found) <= len(sent) + kills
        assert not Path(tail, f"tail-{journal.stream}").exists(), "all is stored"
    finally:
        os.close(published)
        shutil.rmtree(tail, ignore_errors=True)


def append_until_killed_at(folder: str, tail: str, published: str, rate_hz: float) -> None:
    append_until_killed(folder, tail, os.open(published, os.O_WRONLY | os.O_APPEND), rate_hz)
