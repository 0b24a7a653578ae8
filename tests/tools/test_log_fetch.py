"""The logger with a daemon that stores what it publishes: fetch, acknowledge, rotate, wait."""

import json
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from edge.cli import run_command_line
from edge.client import Subscriber
from edge.client.logs import opened_log
from edge.client.logs.rotation import Rotation, parse_rotation
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, LogUnavailable
from edge.protocol.requests import FetchRequest
from edge.tools import log, silence
from edge.tools.log import consumer_name, run_log
from tests.support.fetch_server import FakeDaemon
from tests.support.logged import logged
from tests.support.waiting import HANG_S
from tests.support.wire import frame
from tests.tools.test_log import wait_until

NAMES = ["log.sqlite", "log.csv", "log.jsonl", "log.parquet"]


@pytest.fixture
def addresses(tmp_path):
    return f"ipc://{tmp_path}/live", f"ipc://{tmp_path}/service"


def numbers(out):
    found = logged(str(out))
    assert set(found.values()) <= {1}
    return sorted(seq for _, seq in found)


@pytest.mark.parametrize("name", NAMES)
def test_once_stores_everything_acknowledges_it_and_ends(tmp_path, addresses, name):
    out, reports = tmp_path / name, []
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        for _ in range(1200):
            daemon.publish()
        for count in (1201, 0, 300):
            for _ in range(count if count == 300 else 0):
                daemon.publish()
            summary = run_log(
                [addresses[0]], str(out), services=[addresses[1]], stop=lambda: False, once=True,
                report=reports.append, name="ward-2",
            )  # fmt: skip
            assert summary.messages - count in range(2)
            assert (summary.gaps, summary.late) == (0, 0)
            newest = (1, daemon.last_seq)
            wait_until(lambda at=newest: daemon.acknowledged.get("ward-2") == at)
    assert numbers(out) == list(range(1501))


def test_once_ends_although_the_daemon_goes_on(tmp_path, addresses):
    """A camera always has a newer message: the end does not wait for a pause."""
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()

        until_s = time.monotonic() + HANG_S

        def publish_and_go_on() -> bool:
            daemon.publish()
            return time.monotonic() > until_s

        summary = run_log(
            [addresses[0]], tmp_path / "log.jsonl", services=[addresses[1]],
            stop=publish_and_go_on, once=True, report=lambda _line: None,
        )  # fmt: skip
        assert time.monotonic() < until_s
        assert (summary.gaps, summary.late) == (0, 0)


def test_until_end_does_not_end_with_an_earlier_run(tmp_path, addresses):
    out = tmp_path / "log.jsonl"
    with FakeDaemon(*addresses, page_max=3) as daemon:
        for _ in range(3):
            daemon.start_epoch()
            for name in ("", "", "", "epoch_ended"):
                daemon.publish(name)
        summary = run_log(
            [addresses[0]], out, services=[addresses[1]], stop=lambda: False, until_end=True,
            report=lambda _: None,
        )  # fmt: skip
    assert summary.messages == 15
    assert not summary.gave_up


def test_several_daemons_are_logged_into_one_file(tmp_path):
    live = [f"ipc://{tmp_path}/live-{number}" for number in range(3)]
    services = [f"ipc://{tmp_path}/service-{number}" for number in range(3)]
    daemons = [
        FakeDaemon(one, two, stream=stream)
        for one, two, stream in zip(live, services, "abc", strict=True)
    ]
    for number, daemon in enumerate(daemons):
        daemon.start_epoch()
        for _ in range(10 * number):
            daemon.publish()
    out = tmp_path / "log.sqlite"
    run_log(live, out, services=services, stop=lambda: False, once=True, report=lambda _: None)
    for daemon in daemons:
        daemon.__exit__()
    assert len(logged(str(out))) == 1 + 11 + 21


def test_what_is_waited_for_is_said_and_once_gives_up(tmp_path, addresses, monkeypatch):
    monkeypatch.setattr("edge.tools.catch_up._FIRST_MS", 1500.0)
    reports = []
    summary = run_log(
        [addresses[0]], tmp_path / "log", services=[addresses[1]], stop=lambda: False, once=True,
        give_up_s=3.0, report=reports.append,
    )  # fmt: skip
    assert summary.gave_up
    assert reports[0].startswith(f"log: writing {tmp_path}/log.sqlite (new), from ")
    assert any(f"waiting for a reply from {addresses[1]}" in line for line in reports)


def test_once_gives_up_on_a_silent_service_although_another_daemon_goes_on(tmp_path, addresses):
    """The statuses of the daemon that answers were no silence: it waited for ever."""
    nobody, reports = f"ipc://{tmp_path}/nobody", []
    began_ns = monotonic_ns()
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()

        def publish_and_go_on() -> bool:
            daemon.publish()
            return elapsed_ms(began_ns) > HANG_S * 1e3

        summary = run_log(
            [addresses[0]], tmp_path / "log.jsonl", services=[addresses[1], nobody],
            stop=publish_and_go_on, once=True, give_up_s=1.0, report=reports.append,
        )  # fmt: skip
    assert summary.gave_up
    assert summary.messages
    assert reports[-1] == f"log: waited for a reply from {nobody} for 1 s: given up"


def test_messages_that_wait_for_a_service_are_no_silence(tmp_path, addresses, monkeypatch):
    """A logger with a wrong --service gave up while the daemon published."""
    held = []

    class Watched(Subscriber):
        @property
        def held(self) -> int:
            held.extend([1] * bool(super().held))
            return super().held

    monkeypatch.setattr(log, "Subscriber", Watched)
    monkeypatch.setattr(silence, "elapsed_ms", lambda _since: 1e6 if held else 0.0)
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()

        def publish_until_held() -> bool:
            daemon.publish()
            return len(held) > 3

        summary = run_log(
            [addresses[0]], tmp_path / "log.jsonl", services=[f"ipc://{tmp_path}/nobody"],
            stop=publish_until_held, until_end=True, give_up_s=5.0, report=lambda _line: None,
        )  # fmt: skip
    assert not summary.gave_up


def test_a_log_that_cannot_be_opened_is_given_up_at_the_limit(tmp_path):
    """A database that did not run was waited for without an end."""
    with pytest.raises(LogUnavailable, match=r"given up after 0.3 s"):
        run_log(
            [f"ipc://{tmp_path}/live"], "postgresql://127.0.0.1:1/log", stop=lambda: False,
            until_end=True, give_up_s=0.3, report=lambda _line: None,
        )  # fmt: skip


def test_once_gives_up_after_the_time_that_tail_waits(tmp_path, addresses):
    words = ["log", "--out", str(tmp_path / "log"), "--once", "--timeout-s", "0.5"]
    assert run_command_line([*words, "--connect", addresses[0], "--service", addresses[1]]) == 1


@pytest.mark.parametrize("name", ["log.csv", "log", "log/"])
def test_once_without_a_message_leaves_nothing(tmp_path, addresses, name):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.csv").touch()

    def log_once(give_up_s=0.2, **others):
        return run_log(
            [addresses[0]], f"{folder}/{name}", services=[addresses[1]], once=True,
            give_up_s=give_up_s, report=reports.append, **others,
        )  # fmt: skip

    def names():
        return {str(each.relative_to(folder)) for each in folder.rglob("*")}

    reports = []
    assert log_once(stop=lambda: False).gave_up
    assert reports[-1] == "log: nothing received for 0.2 s: given up; no log is left"
    assert names() == {"mine.csv"}
    assert not log_once(stop=lambda: True).gave_up  # Ctrl-C
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        with pytest.raises(ConfigError, match="--device other"):
            log_once(20, stop=lambda: False, device="other")
        assert names() == {"mine.csv"}
        assert log_once(20, stop=lambda: False).messages
    made = names()
    assert len(made) > 1
    reports.clear()
    assert log_once(stop=lambda: False).gave_up
    assert names() == made  # an older log stays
    assert reports[-1] == "log: nothing received for 0.2 s: given up"


def test_an_empty_file_that_was_there_stays(tmp_path, addresses):
    out = tmp_path / "log.csv"
    out.touch()
    run_log(
        [addresses[0]], out, services=[addresses[1]], stop=lambda: False, once=True, give_up_s=0.2,
        report=lambda _line: None,
    )  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"]


def test_a_wrong_address_leaves_no_log(tmp_path):
    with pytest.raises(ConfigError, match="endpoint 'nowhere'"):
        run_log(["nowhere"], tmp_path / "log.csv", stop=lambda: False)
    with opened_log(tmp_path / "busy.csv") as other:
        other.cursors()
        with pytest.raises(ConfigError, match="another process writes to it"):
            run_log(["ipc://x"], tmp_path / "busy.csv", stop=lambda: False, once=True)
    assert {each.name for each in tmp_path.iterdir()} == {"busy.csv", "busy.events.csv"}


LOGGER = """
import sys
from edge.tools import log, silence
from edge.tools.log import run_log
run_log([sys.argv[1]], sys.argv[3], services=[sys.argv[2]], stop=lambda: False, once=True)
"""


@pytest.mark.parametrize("name", ["log.sqlite", "log.csv"])
def test_kills_while_fetching_lose_and_double_nothing(tmp_path, addresses, name):
    """What a killed logger had not committed is fetched again."""
    out = tmp_path / name
    with FakeDaemon(*addresses, page_max=50) as daemon:
        daemon.start_epoch()
        for _ in range(4):
            for _ in range(1000):
                daemon.publish()
            asked = len(daemon.requests)
            with subprocess.Popen([sys.executable, "-c", LOGGER, *addresses, out]) as logger:
                wait_until(lambda before=asked: len(daemon.requests) > before + 12)
                logger.send_signal(signal.SIGKILL)
        subprocess.run([sys.executable, "-c", LOGGER, *addresses, out], check=True)
        assert numbers(out) == [seq for _, seq in daemon.positions]


def test_sighup_rotates_and_sigterm_ends(tmp_path, addresses):
    out = tmp_path / "log.sqlite"
    command = [sys.executable, "-m", "edge", "log", "--connect", addresses[0], "--service"]
    command += [addresses[1], "--out", str(out)]

    def stored(path):
        if not path.exists() or not path.stat().st_size:
            return 0
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return database.execute("SELECT count(*) FROM messages").fetchone()[0]
        except sqlite3.Error:  # not made yet
            return 0
        finally:
            database.close()

    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        daemon.publish()
        # a session of its own has no terminal, as a service
        with subprocess.Popen(command, start_new_session=True) as logger:
            wait_until(lambda: stored(out) == 2)
            logger.send_signal(signal.SIGHUP)
            rotated = tmp_path / "log.2023-11-14.sqlite"
            wait_until(rotated.exists)
            daemon.publish()
            wait_until(lambda: stored(out) == 1)
            logger.send_signal(signal.SIGTERM)
            assert logger.wait(timeout=HANG_S) == 0
    assert stored(rotated) == 2
    assert numbers(out) == [0, 1, 2]


DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("name", ["log.sqlite", "log.csv", "log.jsonl"])
def test_the_log_rotates_before_the_first_message_of_a_later_day(tmp_path, name):
    from edge.client.logs import opened_log
    from edge.tools.log_writer import LogWriter
    from tests.support.logs import received

    def on_day(seq, days):
        data = frame(seq).model_dump(mode="json", by_alias=True)
        data["time"]["unix_ns"] += days * DAY_NS
        return received(type(frame(seq)).model_validate(data))

    out = tmp_path / name
    for days in ([0, 0, 1, 0], [1, 3]):  # with a restart; a straggler does not rotate back
        with opened_log(out) as log:
            first = max((cursor.seq + 1 for cursor in log.cursors()), default=0)
            writer = LogWriter(
                log, Rotation(daily=True), committed=lambda: None, stop=lambda: False,
                report=lambda _: None,
            )  # fmt: skip
            for seq, day in enumerate(days, first):
                writer.write(on_day(seq, day))
    files = sorted(path.name for path in tmp_path.glob(f"log*{out.suffix}"))
    assert [file for file in files if "events" not in file] == [
        f"log.2023-11-14{out.suffix}", f"log.2023-11-15{out.suffix}", f"log{out.suffix}",
    ]  # fmt: skip
    assert len(logged(str(out))) == 6


@pytest.mark.parametrize(
    ("text", "rotation"),
    [
        (None, Rotation()),
        ("day", Rotation(daily=True)),
        ("500MB", Rotation(bytes=500_000_000)),
        ("1.5 GiB", Rotation(bytes=1_500_000_000)),
        ("2000000", Rotation(bytes=2_000_000)),
    ],
)
def test_rotations_are_parsed(text, rotation):
    assert parse_rotation(text) == rotation


@pytest.mark.parametrize("text", ["", "hour", "5", "MB", "-1GB", "1 PB", "day\n"])
def test_other_rotations_are_refused_in_one_line(text):
    with pytest.raises(ConfigError, match="expected day, or a size of at least 1MB") as error:
        parse_rotation(text)
    assert "\n" not in str(error.value)


def test_two_logs_have_two_names_and_each_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outs = ["a.sqlite", "a.csv", "b.sqlite", "Größe 1/", "postgresql://u:secret@h/d"]
    names = [consumer_name(out) for out in outs]
    assert len(set(names)) == len(outs)
    assert consumer_name(str(tmp_path / "a.sqlite")) == names[0]
    for name in names:
        assert FetchRequest(name=name).name == name
        assert "secret" not in name


def test_a_gap_that_cannot_be_fetched_is_recorded_with_its_reason(tmp_path, addresses):
    out = tmp_path / "log.jsonl"
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        for _ in range(9):
            daemon.publish()
        daemon.lose(1, 3, 5)
        summary = run_log(
            [addresses[0]], out, services=[addresses[1]], stop=lambda: False, once=True,
            report=lambda _: None,
        )  # fmt: skip
    assert (summary.gaps, summary.missing) == (1, 3)
    (gap,) = [
        line for line in map(json.loads, out.read_text().splitlines()) if line["kind"] == "gap"
    ]
    assert (gap["first_missing"], gap["last_missing"], gap["reason"]) == (3, 5, "trimmed")


def test_a_device_of_which_nothing_is_stored_is_refused(tmp_path, addresses):
    """A misspelt name gave an empty log and exit code 0."""
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        with pytest.raises(ConfigError, match="--device nosuch: the daemons have stored nothing"):
            run_log(
                [addresses[0]], tmp_path / "log", services=[addresses[1]], stop=lambda: False,
                once=True, device="nosuch", report=lambda _: None,
            )  # fmt: skip
