"""The systemd notify protocol, with a real datagram socket."""

import os
import socket
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.systemd import Notifier, watchdog_interval_s

SECOND_NS = 1_000_000_000


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address)

    def close(self):
        self._socket.close()

    def read(self):
        texts = []
        while True:
            try:
                texts.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return texts


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_each_call_sends_its_line(manager, tmp_path):
    notifier = Notifier(str(tmp_path / "notify"))
    sent = [
        notifier.status("loading models", 0),
        notifier.ready(),
        notifier.status("29.8 fps", 2 * SECOND_NS),
        notifier.watchdog(),
        notifier.reloading(7_000_999),
        notifier.ready(),
        notifier.watchdog(),
        notifier.stopping(),
    ]
    assert all(sent)
    assert manager.read() == [
        "STATUS=loading models",
        "READY=1",
        "STATUS=29.8 fps",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=7000",
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_start_is_extended_until_it_is_complete(manager, tmp_path):
    notifier = Notifier(str(tmp_path / "notify"))
    assert notifier.extend_start(90.0)
    assert notifier.ready()
    assert not notifier.extend_start(90.0)
    assert manager.read() == ["EXTEND_TIMEOUT_USEC=90000000", "READY=1"]


def test_status_is_sent_on_change_and_at_most_once_a_second(manager, tmp_path):
    notifier = Notifier(str(tmp_path / "notify"))
    calls = [
        ("a", 0.0, True),
        ("a", 5.0, False),  # unchanged
        ("b", 5.0, True),
        ("c", 5.5, False),  # too early
        ("d", 5.9, False),
        ("d", 6.0, True),  # passed again: sent now
        ("a\nREADY=1 \n b", 9.0, True),  # a newline does not inject an assignment
    ]
    for text, now_s, expected in calls:
        assert notifier.status(text, int(now_s * SECOND_NS)) is expected, (text, now_s)
    assert manager.read() == ["STATUS=a", "STATUS=b", "STATUS=d", "STATUS=a READY=1 b"]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from("abc")), max_size=30))
def test_status_is_limited_in_rate_and_the_last_text_arrives(steps):
    name = f"@affect-edge-test-{os.getpid()}"
    manager = Manager("\0" + name[1:])
    try:
        notifier, now_ns, text, sent = Notifier(name), 0, "", []
        for step_ns, text in steps:
            now_ns += step_ns
            if notifier.status(text, now_ns):
                sent.append(now_ns)
            manager.read()
        assert all(later - earlier >= SECOND_NS for earlier, later in pairwise(sent))
        if steps:
            notifier.status(text, now_ns + SECOND_NS)
            assert not notifier.status(text, now_ns + 9 * SECOND_NS)  # already sent
    finally:
        manager.close()


def test_an_address_in_the_abstract_namespace_works():
    name = f"affect-edge-test-{os.getpid()}"
    manager = Manager("\0" + name)
    try:
        assert Notifier("@" + name).ready()
        assert manager.read() == ["READY=1"]
    finally:
        manager.close()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative/path"])
def test_without_a_socket_path_nothing_is_sent(address):
    notifier = Notifier(address)
    assert not notifier.ready()
    assert not notifier.status("a", 0)


def test_a_restarted_manager_is_found_again(manager, tmp_path):
    path = tmp_path / "notify"
    notifier = Notifier(str(path))
    assert notifier.ready()
    manager.close()
    assert not notifier.watchdog()  # the socket file exists, but nobody listens
    path.unlink()
    assert not notifier.status("a", 0)
    assert not Notifier("/" + "x" * 200).ready()
    again = Manager(str(path))
    assert notifier.status("a", 1)  # a text that was not sent is sent later
    assert again.read() == ["STATUS=a"]
    again.close()


def test_a_manager_that_does_not_read_does_not_block_the_daemon(manager, tmp_path):
    notifier = Notifier(str(tmp_path / "notify"))
    queue = 0
    while notifier.watchdog():
        queue += 1
        assert queue < 10_000
    assert manager.read() == ["WATCHDOG=1"] * queue
    assert notifier.watchdog()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "15000000"}, 5.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "7"}, 5.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-3"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_watchdog_interval_of_each_environment(environment, expected):
    assert watchdog_interval_s(environment, pid=7) == expected


def test_the_watchdog_watches_this_process_by_default():
    environment = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    assert watchdog_interval_s(environment) == 1.0
