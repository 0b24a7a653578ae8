"""Alarms of a real daemon: as an event, in the status, as a metric and by webhook; over a kill."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.hub.test_webhook import Receiver
from tests.support.daemons import PURPOSE, ROOT, Message, RunningDaemon
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_until

SEATS = "zones.seats={left={polygon=[[0,0],[1,0],[1,1],[0,1]],participant='P07'}}"


def of(status: Message) -> list[tuple[str, str]]:
    return [(each["rule"], each["subject"]) for each in status["alarms"]]


def is_of_p07(event: Message) -> bool:
    # a second face on the seat, as the clip has one, has an alarm of its own
    return bool(event["detail"]["participant"] == "P07")


def test_an_alarm_is_raised_once_over_a_kill_and_cleared(tmp_path: Path) -> None:
    port = free_port()
    arguments = (
        *("--source", "demo", "--set", "source.repeat=0", *PURPOSE),
        *("--set", f'journal.path="{tmp_path / "journal"}"', "--set", SEATS),
        *("--set", "alarms.not_read_s=1", "--set", "alarms.clear_s=1"),
        *("--set", f'metrics.address="127.0.0.1:{port}"'),
    )
    with Receiver() as receiver:
        hook = ("--set", f'alarms.webhook_url="{receiver.url}/T0SECRET"')
        unread = ("--set", "quality.size_min_px=4000")
        with RunningDaemon(tmp_path, *arguments, *hook, *unread, metrics=True) as daemon:
            raised = daemon.wait_for(lambda message: message.get("event") == "alarm_raised")
            assert raised["detail"]["rule"] == "not_read"
            assert raised["detail"]["participant"] == "P07"
            assert raised["detail"]["text"] == "the face cannot be read: too small"
            status = daemon.wait_for(lambda message: message["kind"] == "status")
            assert of(status) == [("not_read", "P07")]
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/metrics", timeout=HANG_S
            ) as answer:
                page = answer.read().decode()
            assert 'affect_edge_alarm_active{rule="not_read"} 1.0' in page
            assert 'affect_edge_alarm_active{rule="source"} 0.0' in page
            wait_until(lambda: receiver.posts)
            path, _, body = receiver.posts[0]
            assert path == "/T0SECRET"
            assert (body["seq"], body["epoch"]) == (raised["seq"], 1)
            file = tmp_path / "journal" / "participants.json"
            wait_until(lambda: "not_read" in file.read_text())
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            assert "T0SECRET" not in daemon.stderr
            assert "P07" not in daemon.stderr
        with RunningDaemon(tmp_path, *arguments, *hook, *unread, metrics=True) as daemon:
            daemon.wait_for_frame()
            for _ in range(2):  # the face is there for five seconds
                status = daemon.wait_for(lambda message: message["kind"] == "status")
                assert ("not_read", "P07") in of(status)
            assert [each for each in daemon.events("alarm_raised") if is_of_p07(each)] == []
            assert daemon.stop()[0] == 0
        with RunningDaemon(tmp_path, *arguments, *hook) as daemon:
            cleared = daemon.wait_for(
                lambda message: message.get("event") == "alarm_cleared" and is_of_p07(message)
            )
            assert cleared["detail"]["since_unix_ns"] - raised["detail"]["since_unix_ns"] < 10**8
            wait_until(lambda: cleared["seq"] in receiver.seqs)
    events = [body["event"] for _, _, body in receiver.posts if body["participant"] == "P07"]
    assert events == ["alarm_raised", "alarm_cleared"]
    recorded = (tmp_path / "journal" / "journal.sqlite").read_bytes()
    assert b"T0SECRET" not in recorded


def test_the_receiver_of_the_document_shows_what_arrives(tmp_path: Path) -> None:
    text = (ROOT / "docs/alarms.md").read_text()
    program = re.findall(r"```python\n(.*?)```", text, re.S)[-1]
    port = free_port()
    program = program.replace("8099", str(port)).replace("print(", "print(flush=True, *[", 1)
    program = program.replace(".decode())\n", ".decode()])\n", 1)
    shown = tmp_path / "shown"
    with shown.open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=output)
    try:
        arguments = ("--source", "demo", *PURPOSE, "--set", "quality.size_min_px=4000")
        hook = f'alarms.webhook_url="http://127.0.0.1:{port}/"'
        more = ("--set", "alarms.not_read_s=1", "--set", hook)
        with RunningDaemon(tmp_path, *arguments, *more) as daemon:
            wait_until(lambda: '"event": "alarm_raised"' in shown.read_text())
            assert daemon.process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_file_without_pace_has_no_alarms(tmp_path: Path) -> None:
    off = ("--set", "alarms.not_read_s=0.001", "--set", "quality.size_min_px=4000")
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber", *off
    ) as daemon:
        assert daemon.run_to_end() == 0
    assert daemon.events("alarm_raised") == []


def test_a_wrong_token_file_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = (
        "--set", 'alarms.webhook_url="http://127.0.0.1:9/"',
        "--set", f'alarms.webhook_token_file="{tmp_path / "none"}"',
    )  # fmt: skip
    with RunningDaemon(tmp_path, "--source", "demo", *settings) as daemon:
        assert daemon.process.wait(HANG_S) == 78
    assert len(daemon.stderr.splitlines()) <= 2
    assert "alarms.webhook_token_file" in daemon.stderr.splitlines()[-1]
