"""The webhook, with real servers: good ones, slow ones, wrong ones and none."""

import contextlib
import json
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.config import AlarmsConfig
from edge.errors import ConfigError
from edge.hub import webhook as module
from edge.hub.webhook import Webhook
from edge.protocol.alarm_events import AlarmRaised
from edge.protocol.messages import EventMessage
from tests.support import wire
from tests.support.certificates import Certificates
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_until

TOKEN = "c0ffee00c0ffee00c0ffee00"


def alarm(seq: int = 5) -> EventMessage:
    detail = AlarmRaised(
        rule="not_read", subject="P07", participant="P07", text="too dark", since_unix_ns=17
    )
    return wire.event(seq, detail.event, detail.model_dump(mode="json"))


class Receiver:
    """An HTTP server that keeps what is posted and answers as it is told."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.statuses: list[int] = []  # the next answers; then 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append((self.path, dict(self.headers), json.loads(body)))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def seqs(self) -> list[int]:
        return [body["seq"] for _, _, body in self.posts]


@contextlib.contextmanager
def sending(url: str, **config: str) -> Iterator[tuple[Webhook, Counter[str]]]:
    counts: Counter[str] = Counter()
    hook = Webhook(AlarmsConfig(webhook_url=url, **config), lambda name: counts.update([name]))
    try:
        yield hook, counts
    finally:
        hook.close()


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and wait for an answer as long as a busy machine may need."""
    monkeypatch.setattr(module, "RETRY_S", (0.02,))
    monkeypatch.setattr(module, "WAIT_S", HANG_S)
    monkeypatch.setattr(module, "TOTAL_S", HANG_S)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


def test_an_alarm_is_posted_with_the_token(receiver: Receiver, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    url = f"{receiver.url}/alarms/in?room=1"
    with sending(url, webhook_token_file=str(token)) as (hook, counts):
        hook.post(alarm())
        wait_until(lambda: counts["delivered"])
    ((path, headers, body),) = receiver.posts
    assert path == "/alarms/in?room=1"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == receiver.url.removeprefix("http://")
    assert body == {
        "device": "edge",
        "event": "alarm_raised",
        "rule": "not_read",
        "subject": "P07",
        "participant": "P07",
        "text": "too dark",
        "since_unix_ns": 17,
        "unix_ns": alarm().time.unix_ns,
        "stream": "s",
        "epoch": 1,
        "seq": 5,
    }


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 408, 429, 500, 503])
def test_what_fails_is_tried_again_in_order(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status] * 3
    with sending(receiver.url) as (hook, counts):
        hook.post(alarm(1))
        hook.post(alarm(2))
        wait_until(lambda: counts["delivered"] == 2)
    assert receiver.seqs == [1, 1, 1, 1, 2]
    assert {path for path, _, _ in receiver.posts} == {"/"}  # no redirect was followed
    assert counts == {"failed": 3, "delivered": 2}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_does_not_delay_the_next(
    receiver: Receiver,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", (3600.0,))
    caplog.set_level(logging.WARNING)
    receiver.statuses = [status]
    with sending(receiver.url) as (hook, counts):
        hook.post(alarm(1))
        hook.post(alarm(2))
        wait_until(lambda: counts["delivered"])
    assert receiver.seqs == [1, 2]
    assert counts == {"failed": 1, "dropped": 1, "delivered": 1}
    assert f"status {status}" in caplog.text


def test_a_receiver_that_is_away_gets_all_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    secret = f"http://127.0.0.1:{port}/services/T0SECRET"
    with caplog.at_level(logging.INFO, "affect_edge"), sending(secret) as (hook, counts):
        for seq in range(3):
            hook.post(alarm(seq))
        wait_until(lambda: counts["failed"] > 4)
        with socket.create_server(("127.0.0.1", port)) as server:
            answer_all(server, 3)
            wait_until(lambda: counts["delivered"] == 3)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3, lines  # where they go; a failure; its end
    assert "Connection refused" in lines[1]
    assert lines[2].endswith("again")
    assert not any("SECRET" in line or "P07" in line for line in lines)


def answer_all(server: socket.socket, count: int) -> None:
    for _ in range(count):
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def silent(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def dripping(connection: socket.socket, stop: threading.Event) -> None:
    while not stop.wait(0.05):  # each byte within the time-out of one wait
        connection.sendall(b"H")


def endless_header(connection: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000)


def not_http(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"\x16\x03\x01" * 1000)


def closing(connection: socket.socket, stop: threading.Event) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def misbehaving(act: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server whose connections ``act``; yields its address."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            act(connection, stop)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                connection, _ = server.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        stop.set()
        server.close()


@pytest.mark.parametrize("act", [silent, dripping, endless_header, not_http, closing])
def test_a_misbehaving_receiver_costs_nothing_but_its_own_alarms(
    act: Callable[[socket.socket, threading.Event], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 4)
    monkeypatch.setattr(module, "WAIT_S", 0.3)
    monkeypatch.setattr(module, "TOTAL_S", 0.6)
    with misbehaving(act) as url, sending(url) as (hook, counts):
        for seq in range(10):
            hook.post(alarm(seq))
        wait_until(lambda: counts["failed"] >= 2)
    assert counts["delivered"] == 0
    assert counts["dropped"] >= 5


def test_endless_data_after_a_good_header_is_not_read() -> None:
    def act(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 65536)

    with misbehaving(act) as url, sending(url) as (hook, counts):
        hook.post(alarm())
        wait_until(lambda: counts["delivered"])


def test_what_stays_undelivered_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.1)
    with sending(f"http://127.0.0.1:{free_port()}") as (hook, counts):
        hook.post(alarm())
        wait_until(lambda: counts["dropped"])
        assert counts["failed"] >= 2


def test_neither_an_alarm_nor_the_end_of_the_daemon_waits_for_an_answer() -> None:
    with misbehaving(silent) as url:
        started = time.monotonic()
        with sending(url) as (hook, counts):
            for seq in range(10):
                hook.post(alarm(seq))
        assert time.monotonic() - started < HANG_S  # for which the thread waits
        assert not counts["delivered"] + counts["failed"]


def test_tls_is_verified(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.make("receiver"))
    with Receiver(context) as receiver:
        with sending(receiver.url) as (hook, counts):
            hook.post(alarm())
            wait_until(lambda: counts["failed"])
        assert receiver.posts == []
        assert "not trusted" in caplog.text
        with sending(receiver.url, webhook_ca_file=str(certificates.authority)) as (hook, counts):
            hook.post(alarm())
            wait_until(lambda: counts["delivered"])
        with sending(
            receiver.url.replace("127.0.0.1", "localhost"),
            webhook_ca_file=str(certificates.authority),
        ) as (hook, counts):
            hook.post(alarm())
            wait_until(lambda: counts["failed"])  # the certificate is another host's
    assert receiver.seqs == [5]


@pytest.mark.parametrize(
    ("name", "content", "mode", "text"),
    [
        ("webhook_token_file", None, 0o600, "No such file"),
        ("webhook_token_file", "short", 0o600, "16 or more"),
        ("webhook_token_file", TOKEN, 0o644, "chmod 600"),
        ("webhook_ca_file", None, 0o600, "no such file"),
        ("webhook_ca_file", "no certificate", 0o600, "expected the certificate"),
    ],
)
def test_wrong_files_are_named(
    tmp_path: Path, name: str, content: str | None, mode: int, text: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    config = AlarmsConfig.model_validate({"webhook_url": "https://127.0.0.1:1/", name: str(file)})
    with pytest.raises(ConfigError) as caught:
        Webhook(config, lambda _: None)
    assert text in str(caught.value)
    assert f"alarms.{name} {file}" in str(caught.value)
    assert TOKEN not in str(caught.value)
