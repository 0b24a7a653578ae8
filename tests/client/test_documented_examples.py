"""The examples in the documents run as they stand, against a fake daemon."""

import re

import pytest

import edge.client
from edge.client import Subscriber
from tests.support.daemons import ROOT
from tests.support.fetch_server import FakeDaemon

RECEIVE = Subscriber.receive
LIVE, SERVICE = "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"


def examples():
    text = (ROOT / "docs/messages.md").read_text() + (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found = [block for block in blocks if "Subscriber(" in block]
    intro = re.search(r"::\n\n(.*)", edge.client.__doc__, re.DOTALL)
    return [*found, "from edge.client import Subscriber\n" + re.sub("(?m)^    ", "", intro[1])]


def receive_all(subscriber, timeout_s):
    """Return the next message, in place of waiting as long as an example does for no more."""
    received = None
    while received is None and not subscriber.caught_up:
        received = RECEIVE(subscriber, min(timeout_s, 0.1))
    return received


@pytest.mark.parametrize("code", examples())
def test_examples_run(code, tmp_path, monkeypatch, capsys):
    live, service = f"ipc://{tmp_path}/live", f"ipc://{tmp_path}/service"
    assert SERVICE in code
    code = code.replace(LIVE, live).replace(SERVICE, service)
    monkeypatch.setattr(Subscriber, "receive", receive_all)
    monkeypatch.chdir(tmp_path)
    with FakeDaemon(live, service) as daemon:
        daemon.start_epoch()
        daemon.publish()
        for _ in range(2):  # the second time, a cursor may be there
            scope = {}
            exec(code, scope)
        if "CursorTable" in code:
            rows = scope["database"].execute("SELECT epoch, seq FROM message").fetchall()
            assert rows == daemon.positions
            scope["database"].close()
        else:
            assert "epoch_started" in capsys.readouterr().out


def test_there_are_examples():
    assert len(examples()) == 3
