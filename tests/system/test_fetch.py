"""``fetch`` of a running daemon: everything that was published, also by the documented program."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge.client.ask import ask
from edge.protocol.requests import FetchRequest, StatusRequest
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon

PAGE = ROOT / "docs" / "messages.md"
DEMO = ("--source", "demo", "--wait-for-subscriber", "--set", "source.repeat=0", *PURPOSE)


def fetch_all(service: str) -> list[dict[str, Any]]:
    """Return every stored message."""
    messages: list[dict[str, Any]] = []
    reply = ask(service, FetchRequest())
    while True:
        messages += reply["messages"]
        if reply["caught_up"]:
            return messages
        reply = ask(service, FetchRequest(stream=reply["stream"], **reply["next"]))


def test_every_message_can_be_fetched_also_after_a_restart(tmp_path: Path) -> None:
    journal = ("--set", f'journal.path="{tmp_path}/journal"')
    published: list[dict[str, Any]] = []
    for epoch in (1, 2):
        with RunningDaemon(tmp_path, *DEMO, *journal) as daemon:
            for _ in range(20):
                daemon.wait_for_frame()
            fetched = fetch_all(daemon.service)
            assert max(each["epoch"] for each in fetched) == epoch
            section = PAGE.read_text().partition("\n## Fetch")[2]
            program = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
            subprocess.run(
                [sys.executable, "-c", program.replace("tcp://127.0.0.1:5556", daemon.service)],
                check=True, timeout=60, cwd=tmp_path,
            )  # fmt: skip
            lines = (tmp_path / "messages.jsonl").read_text().splitlines()
            assert [json.loads(line) for line in lines][: len(fetched)] == fetched
            assert daemon.stop()[0] == 0
            for message in daemon.messages:
                del message["received_ns"]
            published += [each for each in daemon.messages if each["kind"] != "status"]
        expected = [each for each in published if each["epoch"] < epoch]
        assert fetched[: len(expected)] == expected
        rest = fetched[len(expected) :]
        assert rest == published[len(expected) :][: len(rest)]
        assert len(rest) >= 20


def test_the_status_has_what_the_first_messages_have(tmp_path: Path) -> None:
    priors = ("--set", "expression.priors={ neutral = 0.7 }")
    with RunningDaemon(tmp_path, *DEMO, *priors) as daemon:
        started = daemon.wait_for(lambda m: m.get("event") == "epoch_started")["detail"]
        worker = daemon.wait_for(lambda m: m.get("event") == "worker_started")["detail"]
        daemon.wait_for(lambda m: m["kind"] == "status" and m["models"] is not None)
        status = ask(daemon.service, StatusRequest())["status"]
    for key in ("version", "purpose", "priors"):
        assert status[key] == started[key]
    assert status["models"] == worker["models"]
    assert status["priors"] == {"neutral": 0.7}
