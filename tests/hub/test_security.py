"""Who is admitted with keys: real sockets, each way in which authentication is known to fail."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils.monitor import recv_monitor_message

from edge.config import PublishConfig
from edge.hub import security as security_module
from edge.hub.publisher import Publisher
from edge.hub.security import DOMAIN, attend
from tests.support.keyed_hub import KeyedHub
from tests.support.keys import KINDS, bad_client

FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[KeyedHub]:
    made = KeyedHub(tmp_path)
    yield made
    made.close()


def drain(client: "zmq.Socket[bytes]") -> int:
    count = 0
    with contextlib.suppress(zmq.Again):
        while True:
            client.recv(zmq.NOBLOCK)
            count += 1
    return count


def refuse(hub: KeyedHub, kind: str, socket_type: int) -> None:
    """Connect a bad client, wait until its handshake has failed, and check that it got nothing."""
    client = bad_client(hub.clients, kind, socket_type, hub.keys)
    hub.opened.append(client)
    monitor = hub.watch(client, FAILED)
    is_sub = socket_type == zmq.SUB
    client.connect(hub.publisher.endpoint if is_sub else hub.service.endpoint)
    if not is_sub:
        with contextlib.suppress(zmq.Again):  # the handshake has failed already
            client.send(b'{"request":"time"}', zmq.NOBLOCK)
    hub.turn_until(lambda: monitor.poll(0))
    assert recv_monitor_message(monitor)["event"] & FAILED
    assert not client.poll(0)


@pytest.mark.parametrize("socket_type", [zmq.SUB, zmq.DEALER])
@pytest.mark.parametrize("kind", KINDS)
def test_only_allowed_keys_are_served(hub: KeyedHub, kind: str, socket_type: int) -> None:
    refuse(hub, kind, socket_type)
    assert hub.rejected == ({"unknown_key": 1} if kind == "unknown" else {})
    assert not hub.publisher.has_subscriber("frame", "edge")
    assert hub.requests == 0
    hub.subscriber("logger")
    hub.asked("page")
    assert hub.publisher.has_subscriber("frame", "edge")


@pytest.mark.parametrize("socket_type", [zmq.SUB, zmq.DEALER])
@pytest.mark.parametrize("kind", [*KINDS, "allowed"])
def test_nobody_is_served_while_nobody_answers(hub: KeyedHub, kind: str, socket_type: int) -> None:
    live = hub.subscriber("logger")
    hub.security.close()
    if kind == "allowed":
        hub.keys.keys("unknown")
        hub.keys.folder.joinpath("unknown.key").rename(hub.keys.allowed / "unknown.key")
    refuse(hub, "unknown" if kind == "allowed" else kind, socket_type)
    assert hub.requests == 0
    drain(live)
    hub.turn_until(lambda: live.poll(0))  # who was admitted before stays so


def test_a_socket_of_another_domain_is_not_opened_by_our_list(hub: KeyedHub) -> None:
    other = hub.context.socket(zmq.ROUTER)
    hub.security.protect(other)
    other.setsockopt(zmq.ZAP_DOMAIN, b"other")
    other.bind("tcp://127.0.0.1:*")
    client = hub.client(zmq.DEALER, "logger")
    monitor = hub.watch(client, FAILED)
    client.connect(other.last_endpoint)
    hub.turn_until(lambda: monitor.poll(0))
    assert hub.rejected["malformed"] > 0
    other.close(linger=0)


@given(parts=st.lists(st.binary(max_size=40), min_size=1, max_size=9))
def test_a_malformed_request_is_refused_and_ends_nothing(
    parts: list[bytes], shared_hub: KeyedHub
) -> None:
    asker = shared_hub.context.socket(zmq.REQ)
    asker.setsockopt(zmq.LINGER, 0)
    asker.connect("inproc://zeromq.zap.01")
    asker.send_multipart(parts)
    shared_hub.turn_until(lambda: asker.poll(0))
    assert asker.recv_multipart()[2] == b"400"
    asker.close()


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedHub]:
    made = KeyedHub(tmp_path_factory.mktemp("hub"))
    yield made
    made.close()


def test_a_request_with_a_key_is_answered_by_its_list(hub: KeyedHub) -> None:
    asker = hub.context.socket(zmq.REQ)
    asker.connect("inproc://zeromq.zap.01")
    key = zmq.utils.z85.decode(hub.keys.keys("logger").public.encode())
    for domain, mechanism, credentials, code in (
        (DOMAIN, b"CURVE", [key], b"200"),
        (DOMAIN, b"CURVE", [key, key], b"400"),
        (DOMAIN, b"CURVE", [key[:31]], b"400"),
        (DOMAIN, b"CURVE", [bytes(32)], b"400"),
        (DOMAIN, b"PLAIN", [b"logger", b""], b"400"),
        (DOMAIN, b"NULL", [], b"400"),
        (b"", b"CURVE", [key], b"400"),
    ):
        asker.send_multipart([b"1.0", b"7", domain, b"127.0.0.1", b"", mechanism, *credentials])
        hub.turn_until(lambda: asker.poll(0))
        version, number, answered, _, user, _ = asker.recv_multipart()
        assert (version, number, answered) == (b"1.0", b"7", code)
        assert user == (b"logger" if code == b"200" else b"")
    asker.close(linger=0)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "tcp://*:*", "tcp://[::1]:*", "ipc"])
def test_a_revoked_client_is_cut_and_the_others_are_not(tmp_path: Path, endpoint: str) -> None:
    hub = KeyedHub(tmp_path)
    hub.publisher.close(0)
    config = PublishConfig(endpoint=f"ipc://{tmp_path}/live" if endpoint == "ipc" else endpoint)
    hub.publisher = Publisher(hub.context, config, security=hub.security)
    hub.publisher.endpoint = hub.publisher.endpoint.replace("0.0.0.0", "127.0.0.1")
    hub.clients.setsockopt(zmq.IPV6, int("[" in endpoint))
    revoked, other = hub.subscriber("logger"), hub.subscriber("page")
    events = hub.watch(other, zmq.EVENT_DISCONNECTED)
    hub.keys.revoke("logger")
    attend(hub.security, reload=True)
    assert hub.reloads == [True]
    # its queue may still hold what came before the cut
    hub.turn_until(lambda: hub.rejected["unknown_key"])  # it is back, and refused
    drain(revoked)
    drain(other)
    hub.turn_until(lambda: other.poll(0))
    assert not revoked.poll(0)
    assert not events.poll(0)
    hub.close()


def test_a_client_that_asks_after_its_key_was_revoked_is_cut(hub: KeyedHub) -> None:
    revoked, other = hub.asked("logger"), hub.asked("page")
    hub.security._connections.clear()  # as if it had never sent a message
    hub.keys.revoke("logger")
    hub.security.reload()
    requests = hub.requests
    for client in (revoked, other):
        client.send(b'{"request":"time"}')
    hub.turn_until(lambda: other.poll(0))
    hub.turn_until(lambda: hub.rejected["revoked"])
    assert hub.requests == requests + 1
    assert not revoked.poll(0)


def test_a_subscription_after_the_key_was_revoked_is_cut(hub: KeyedHub) -> None:
    client = hub.client(zmq.SUB, "logger")
    monitor = hub.watch(client, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    client.connect(hub.publisher.endpoint)
    hub.turn_until(lambda: monitor.poll(0))
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    hub.keys.revoke("logger")
    hub.security.reload()
    client.setsockopt(zmq.SUBSCRIBE, b"")
    hub.turn_until(lambda: hub.rejected["revoked"] and monitor.poll(0))
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_DISCONNECTED


def test_a_new_key_under_an_old_name_cuts_the_old_one(hub: KeyedHub) -> None:
    old = hub.asked("logger")
    hub.keys.revoke("logger")
    (hub.keys.folder / "logger.key_secret").unlink()
    hub.keys.allow("logger")
    hub.security.reload()
    hub.asked("logger")
    with contextlib.suppress(zmq.Again):
        old.send(b'{"request":"time"}', zmq.NOBLOCK)
    hub.turn_until(lambda: hub.rejected["unknown_key"])
    assert not old.poll(0)


def make_mistake(hub: KeyedHub, mistake: str) -> None:  # noqa: PLR0912 - one branch a mistake
    """Spoil the folder of allowed keys in one way."""
    bad = hub.keys.allowed / "bad.key"
    match mistake:
        case "malformed":
            bad.write_text("curve\n    public-key = 'no'\n")
        case "empty":
            bad.touch()
        case "gone":
            hub.keys.allowed.rename(hub.keys.folder / "elsewhere")
        case "twice":
            bad.write_text((hub.keys.allowed / "new.key").read_text())
        case "secret":
            bad.write_text(hub.keys.secret.read_text())
        case "folder":
            bad.mkdir()
        case "own":
            bad.write_text(hub.keys.public.read_text())
        case "writable":
            (hub.keys.allowed / "new.key").chmod(0o666)
        case "folder-writable":
            hub.keys.allowed.chmod(0o1777)
        case "fifo":
            os.mkfifo(bad)
        case "loop":
            bad.symlink_to(bad)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(bad))
        case "huge":
            with bad.open("wb") as file:
                file.truncate(1 << 40)
        case "nul":
            bad.write_bytes((hub.keys.allowed / "new.key").read_bytes() + b"\0")
        case "no-key":
            for each in hub.keys.allowed.iterdir():
                each.rename(each.with_suffix(".old"))


@pytest.mark.parametrize(
    "mistake",
    [
        *("malformed", "empty", "gone", "twice", "secret", "folder", "own", "writable"),
        *("folder-writable", "fifo", "loop", "socket", "huge", "nul", "no-key"),
    ],
)
def test_a_bad_reload_keeps_the_old_list(
    hub: KeyedHub, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    live = hub.subscriber("logger")
    hub.keys.allow("new")
    make_mistake(hub, mistake)
    hub.security.reload()
    assert hub.reloads == [False]
    (line,) = [each for each in caplog.messages if "not reloaded" in each]
    assert "allowed" in line
    assert "\n" not in line
    drain(live)
    hub.turn_until(lambda: live.poll(0))
    hub.subscriber("page")
    new = hub.client(zmq.SUB, "new")
    monitor = hub.watch(new, FAILED)
    new.connect(hub.publisher.endpoint)
    hub.turn_until(lambda: monitor.poll(0))
    assert hub.rejected == {"unknown_key": 1}


def test_what_is_no_connection_of_ours_is_never_cut(hub: KeyedHub) -> None:
    hub.subscriber("logger")
    (descriptor, (inode, keys)) = next(iter(hub.security._connections.items()))
    assert hub.security._note(descriptor, "key") == inode
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as server:
        for each in (ours.fileno(), server.fileno(), os.open("/", os.O_RDONLY), 9999):
            assert hub.security._note(each, "key") is None
        # the number of a cut connection may be another socket's a moment later
        security_module._cut(ours.fileno(), inode)
        ours.send(b"still open")
        assert theirs.recv(20) == b"still open"
    assert keys < hub.security._connections[descriptor][1]


def test_refusals_are_logged_once_in_ten_seconds(
    hub: KeyedHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [10**12]
    monkeypatch.setattr(security_module.clock, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(security_module.clock, "elapsed_ms", lambda since: (now[0] - since) / 1e6)
    caplog.set_level(logging.WARNING)
    for step_s in (0, 1, 8, 2, 0):
        now[0] += int(step_s * 1e9)
        hub.security._reject("unknown_key", "from 192.0.2.7 with the unknown key 0123")
    assert caplog.messages == [
        "refused a peer from 192.0.2.7 with the unknown key 0123",
        "refused a peer from 192.0.2.7 with the unknown key 0123; 3 since the last such line",
    ]
    assert hub.rejected == {"unknown_key": 5}


def test_without_keys_a_reload_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    attend(None, reload=True)
    attend(None, reload=False)
    assert caplog.messages == [
        "SIGHUP received: security.allowed_keys is not set, nothing to reload"
    ]
