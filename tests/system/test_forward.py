"""``affect-edge forward`` between a real daemon and a real broker."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.client import Cursor
from edge.errors import ConfigError
from edge.tools.forward.broker import read_password
from edge.tools.forward.state import ForwardState
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.mosquitto import PersistentSubscriber, running_broker
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import HANG_S


def test_every_message_arrives_although_the_forwarder_is_killed(tmp_path: Path) -> None:
    with running_broker("max_queued_messages 0") as broker:
        archive = PersistentSubscriber(broker.port)
        archive.connect()
        with RunningDaemon(
            tmp_path,
            *("--source", "/dev/video0", "--set", f'journal.path="{tmp_path}/journal"'),
            *PURPOSE,
            module=SYNTHETIC,
        ) as daemon:
            daemon.wait_for_frame()
            for _ in range(3):
                before = len(archive.identities)
                forwarder = start_forwarder(daemon, broker.port, tmp_path / "state")
                deadline = time.monotonic() + HANG_S
                while len(archive.identities) < before + 20:
                    archive.turn(0.1)
                    assert time.monotonic() < deadline
                forwarder.kill()
                forwarder.wait()
        numbers = {seq for _, _, seq in archive.identities}
        assert len({(stream, epoch) for stream, epoch, _ in archive.identities}) == 1
        assert numbers == set(range(max(numbers) + 1))
        assert archive.topics[0] == "affect/v1/edge/event"


def start_forwarder(daemon: RunningDaemon, port: int, state: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "edge", "forward", "--connect", daemon.endpoint),
            *("--service", daemon.service, "--to", f"mqtt://127.0.0.1:{port}", "--state", state),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--to", "http://host"), "--to: expected mqtt:// or mqtts://"),
        (("--to", "mqtt://host:99999"), "--to: expected mqtt:// or mqtts://"),
        (("--to", "mqtt://user:secret@host"), "a password on the command line is readable"),
        (("--to", "mqtt://host/a/+"), "a topic has no +, # or $"),
        (("--to", "mqtt://host", "--service", ""), "expected --service"),
        (("--to", "mqtt://host", "--password-file", "/missing"), "--password-file /missing"),
        (("--to", "mqtts://host", "--ca", "/missing"), "--ca /missing"),
        (("--to", "mqtt://host", "--state", "/proc/none/state"), "--state /proc/none/state"),
        (("--to", "mqtt://host", "--state", __file__), "expected a file that forward has made"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_78(
    tmp_path: Path, options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = () if "--state" in options else ("--state", str(tmp_path / "state"))
    assert run_command_line(["forward", *options, *state]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert "secret" not in line


def test_a_state_file_belongs_to_one_broker_and_one_process(tmp_path: Path) -> None:
    with (
        ForwardState(tmp_path / "state", "mqtt://one:1883/"),
        pytest.raises(ConfigError, match="in use by another forwarder"),
    ):
        ForwardState(tmp_path / "state", "mqtt://one:1883/")
    with pytest.raises(ConfigError, match="belongs to mqtt://one:1883/"):
        ForwardState(tmp_path / "state", "mqtt://two:1883/")


def test_a_new_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Every user could read it."""
    before = os.umask(0)
    try:
        with ForwardState(tmp_path / "state", "mqtt://one:1883/") as state:
            state.store([Cursor("stream", 1, 2)])
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="other users may read or change it"):
        read_password(file)
    file.chmod(0o600)
    assert read_password(file) == "secret"


def test_a_log_in_a_database_with_a_wrong_address_shows_no_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(["log", "--out", "postgresql://user:top@secret@127.0.0.1/db"]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert "not an address of a database" in line
    assert "secret" not in line
