"""A logger that is stopped for a while (Ctrl-Z and fg): nothing is lost, or it is reported."""

import io
import itertools
import re
import signal
import subprocess
import sys
import time

import pytest
import zmq
from rich.console import Console

from edge import clock
from edge.client import Subscriber
from edge.config import PublishConfig
from edge.hub.publisher import Publisher
from edge.protocol import messages
from edge.tools import silence
from edge.tools.aim import run_aim
from edge.tools.silence import SilenceNotice
from edge.tools.tail import run_tail
from tests.support import wire
from tests.support.logs import json_lines
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import event, frame

LOGGER = """
import sys
from pathlib import Path
from edge.tools.log import run_log
print(run_log([sys.argv[1]], Path(sys.argv[2]), stop=lambda: False, until_end=True))
"""


def test_a_stopped_logger_loses_nothing_though_the_run_ends_meanwhile(tmp_path):
    """Eleven seconds: heartbeats used to cut the connection, and silence to replace the socket."""
    out, context = tmp_path / "log.jsonl", zmq.Context()
    publisher = Publisher(context, PublishConfig(endpoint="tcp://127.0.0.1:*"))
    command = [sys.executable, "-c", LOGGER, publisher.endpoint, out]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as logger:
        try:
            wait_until(lambda: publisher.read_subscriptions() or subscribed(publisher))
            send(publisher, frame(0))
            wait_until(lambda: out.exists() and out.stat().st_size)
            logger.send_signal(signal.SIGSTOP)
            for seq in range(1, 111):
                send(publisher, frame(seq))
                time.sleep(0.1)
            send(publisher, event(111, "epoch_ended"))
            publisher.close(2.0)
            context.term()
            logger.send_signal(signal.SIGCONT)
            _, stderr = logger.communicate(timeout=HANG_S)
        finally:
            logger.kill()
            publisher.close(0)
            context.term()
    assert [line["seq"] for line in json_lines(out)] == list(range(112))
    assert re.search(rb"log: did nothing for \d\d s \(stopped, or held up by the disk\)", stderr)
    assert b"nothing received" not in stderr


def test_a_pause_is_reported_and_does_not_count_as_silence(monkeypatch):
    now_ns, reports = [10**12], []
    monkeypatch.setattr(silence, "monotonic_ns", lambda: now_ns[0])
    monkeypatch.setattr(silence, "elapsed_ms", lambda since_ns: (now_ns[0] - since_ns) / 1e6)
    notice = SilenceNotice(["tcp://a:1"], reports.append)

    def turns(count):
        for _ in range(count):
            now_ns[0] += 200_000_000
            notice.turn()
            notice.check()

    notice.note(frame(0))
    turns(10)
    now_ns[0] += 15 * 10**9
    turns(4)
    (line,) = reports
    assert line.startswith("did nothing for 15 s (stopped, or held up by the disk)")
    assert notice.silent_s < 4
    turns(20)
    assert reports[1:] == [
        "edge: nothing received for 3 s; has the daemon ended, or the connection been cut?"
    ]


def run_tail_until(stop, subscriber):
    run_tail(subscriber, Console(file=io.StringIO()), stop)


def run_aim_until(stop, subscriber):
    run_aim(subscriber, Console(file=io.StringIO()), stop, once=False, wait_s=1)


@pytest.mark.parametrize("run", [run_tail_until, run_aim_until])
def test_live_commands_report_a_pause_and_no_silence(run, tmp_path, monkeypatch, capsys):
    paused_ns, turns, said = [0], itertools.count(), []
    monkeypatch.setattr(silence, "PAUSE_MS", 10 * HANG_S * 1e3)  # no pause of a busy machine
    monkeypatch.setattr(silence, "SILENT_MS", HANG_S * 1e3)
    monkeypatch.setattr(silence, "monotonic_ns", lambda: clock.monotonic_ns() + paused_ns[0])
    monkeypatch.setattr(
        silence, "elapsed_ms", lambda since_ns: (silence.monotonic_ns() - since_ns) / 1e6
    )

    def stop():
        if next(turns) == 2:
            paused_ns[0] = round(20 * HANG_S * 1e9)  # as after Ctrl-Z
        said.append(capsys.readouterr().err)
        return "did nothing" in "".join(said[:-2])  # two turns later

    endpoint = f"ipc://{tmp_path}/pub"
    with wire.Publisher(endpoint) as publisher, Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(0))
        run(stop, subscriber)
    (line,) = "".join(said).splitlines()
    assert line.startswith("affect-edge: did nothing for 1200 s (stopped, or held up by the disk)")


def send(publisher, message):
    publisher.offer(messages.encode(message))


def subscribed(publisher):
    return publisher.has_subscriber("frame", "edge")
