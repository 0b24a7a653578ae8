"""An erasure that is killed at each of its steps in turn, and completed by a second one.

``python -m tests.support.killed_erasure OUT EVERY``: for every ``EVERY``-th step, write the record
of ``tests.support.erasable`` to OUT anew, kill an erasure of its first session with SIGKILL right
before that step, look at what is left, erase again, and compare with an erasure that was not
killed. It prints the number of kills. A step is a call that changes a file or a database.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg

from edge.client.logs import is_database, opened_log
from edge.client.logs.erasing import erase_session
from edge.errors import ConfigError
from tests.support.erasable import LEFT, contents, messages_in, record, write_record

_C_STEPS = frozenset(
    ["replace", "rename", "fsync", "unlink", "execute", "write", "ftruncate", "close", "open"]
)
_STEPS = frozenset(["_rows", "_rewrite", "store", "delete", "count_in_files"])


def _kill_at(step: int) -> None:
    """Have this process killed before the call number ``step`` from now on."""
    left = step

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        name = getattr(argument, "__name__", "") if event == "c_call" else frame.f_code.co_name
        if name in (_C_STEPS if event == "c_call" else _STEPS) and event.endswith("call"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)


def _reset(out: str) -> None:
    if is_database(out):
        with psycopg.connect(out, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS affect CASCADE")
    else:
        folder = Path(out).parent
        shutil.rmtree(folder)
        folder.mkdir()
    write_record(out, record())


def _erase_until(out: str, step: int) -> bool:
    """Erase in a child that is killed before ``step``; return whether it ended before that."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_at(step)
            code = 0 if erase_session(out, "morning", lambda _line: None).hits == 0 else 2
        finally:
            sys.setprofile(None)
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), os.waitstatus_to_exitcode(status)
    return status == 0


def run(out: str, every: int) -> int:
    """Kill erasures of ``out``; return how many."""
    _reset(out)
    assert erase_session(out, "morning", print).hits == 0
    expected = contents(out)
    kept = set(messages_in(out))
    assert sorted(kept) == LEFT
    step = kills = 0
    while True:
        step += every
        _reset(out)
        if _erase_until(out, step):
            return kills
        kills += 1
        assert kept <= set(messages_in(out)), step  # nothing else was lost
        if kills % 2:  # the logger was started in between
            with opened_log(out) as log:
                assert max((each.epoch, each.seq) for each in log.cursors()) == (2, 205)
        try:
            assert erase_session(out, "morning", lambda _line: None).hits == 0, step
        except ConfigError as error:  # after all was done: there is no such session any more
            if "not in" not in str(error):
                raise
        _compare(contents(out), expected, step)


def _compare(found: dict[str, list[Any]], expected: dict[str, list[Any]], step: int) -> None:
    for name in found.keys() | expected.keys():
        if ".cursors" in name:  # without personal data; a killed logger may leave a new one, too
            continue
        assert found.get(name) == expected.get(name), (step, name)


def kill_erasures(out: Path | str, every: int) -> int:
    """Do that in another process, which may fork; return the number of kills."""
    command = [sys.executable, "-m", __name__, str(out), str(every)]
    loop = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loop.returncode == 0, loop.stderr
    return int(loop.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2])))
