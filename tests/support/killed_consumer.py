"""Kills a consumer again and again while a daemon publishes, and compares what it has stored."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.daemons import ROOT
from tests.support.fetch_server import FakeDaemon
from tests.support.wire import status

_PERIOD_S = 0.002
_ENDLESS = 1 << 30


def killed_consumer(folder: Path, *, kills: int, seed: int) -> int:
    """Return how many messages a consumer stored that was killed so often: all, each once.

    Every tenth message is lost on its way. The consumer kills itself right before it inserts,
    commits or acknowledges.
    """
    chance = random.Random(seed)
    live, service = f"ipc://{folder}/live", f"ipc://{folder}/service"
    path = folder / "messages.sqlite"
    with FakeDaemon(live, service) as daemon:
        daemon.start_epoch()
        is_over = threading.Event()

        def publish() -> None:
            while not is_over.wait(_PERIOD_S):
                daemon.publish(publish=chance.random() > 0.1)
                if not daemon.last_seq % 50:
                    daemon.send(status(daemon.last_seq, epoch=daemon.epoch))

        publishing = threading.Thread(target=publish)
        publishing.start()
        command = [sys.executable, "-m", "tests.support.sqlite_consumer", live, service, str(path)]
        try:
            for _ in range(kills):
                place = chance.choice(["insert", "commit", "acknowledge"])
                stops = [str(chance.randint(1, 400)), place, str(_ENDLESS)]
                killed = subprocess.run([*command, *stops], cwd=ROOT, timeout=60, check=False)
                assert killed.returncode == -signal.SIGKILL
        finally:
            is_over.set()
            publishing.join()
        total = len(daemon.positions)
        last = subprocess.run(
            [*command, "0", "never", str(total)], cwd=ROOT, timeout=600, check=False
        )
        assert last.returncode == os.EX_OK
        database = sqlite3.connect(path)
        rows = database.execute("SELECT epoch, seq, body FROM message ORDER BY rowid")
        stored = [((epoch, seq), body) for epoch, seq, body in rows]
        database.close()
        assert stored == sorted(daemon.stored.items())
        assert daemon.acknowledged["consumer"] == daemon.positions[-1]
    return total
