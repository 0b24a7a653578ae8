"""Who may scrape: real connections, certificates and tokens, silent and slow peers."""

import contextlib
import errno
import os
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from edge.config import MetricsConfig
from edge.errors import ConfigError
from edge.hub import metrics_server
from edge.hub.metrics_server import CONNECTIONS_MAX, serve
from tests.support.certificates import Certificates
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server_files(certificates: Certificates) -> dict[str, str]:
    certificate, key = certificates.make("server")
    return {"tls_certificate": str(certificate), "tls_key": str(key)}


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return str(path)


def start(host: str = "127.0.0.1", **files: str) -> int:
    """Serve one metric; return the port."""
    port = free_port(host.strip("[]"))
    registry = CollectorRegistry()
    Gauge("answer", "An answer", registry=registry).set(42)
    serve(registry, MetricsConfig(address=f"{host}:{port}", **files))
    return port


def scrape(
    port: int, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", **headers: str
) -> str:
    scheme = "http" if tls is None else "https"
    request = urllib.request.Request(f"{scheme}://{host}:{port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=HANG_S, context=tls) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_on_this_machine_it_is_plain(host: str) -> None:
    port = start(host)
    assert "answer 42.0" in scrape(port, host=host)


def test_a_token_is_required(token_file: str) -> None:
    port = start(token_file=token_file)
    assert "answer 42.0" in scrape(port, Authorization=f"Bearer {TOKEN}")
    for wrong in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", "Bearer \xe9"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            scrape(port, **({"Authorization": wrong} if wrong else {}))
        assert caught.value.code == 401
        caught.value.close()


def test_tls_with_a_certificate_of_the_client(
    certificates: Certificates, server_files: dict[str, str]
) -> None:
    port = start("0.0.0.0", **server_files, tls_client_ca=str(certificates.authority))
    trusting = ssl.create_default_context(cafile=str(certificates.authority))
    with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
        scrape(port, trusting)
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        scrape(port)  # not TLS
    trusting.load_cert_chain(*certificates.make("prometheus"))
    assert "answer 42.0" in scrape(port, trusting)


def test_a_certificate_of_another_authority_is_refused(
    certificates: Certificates, server_files: dict[str, str], tmp_path: Path
) -> None:
    port = start("0.0.0.0", **server_files, tls_client_ca=str(certificates.authority))
    strange = ssl.create_default_context(cafile=str(certificates.authority))
    strange.load_cert_chain(*Certificates(tmp_path).make("prometheus"))
    with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
        scrape(port, strange)


def test_tls_with_a_token(
    certificates: Certificates, server_files: dict[str, str], token_file: str
) -> None:
    port = start("0.0.0.0", **server_files, token_file=token_file)
    trusting = ssl.create_default_context(cafile=str(certificates.authority))
    assert "answer" in scrape(port, trusting, Authorization=f"Bearer {TOKEN}")
    with pytest.raises(urllib.error.HTTPError) as caught:
        scrape(port, trusting)
    assert caught.value.code == 401
    caught.value.close()


@pytest.mark.parametrize("tls", [False, True])
def test_silent_peers_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    server_files: dict[str, str],
    tls: bool,
) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_S", 0.3)
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.3)
    port = start(**(server_files if tls else {}))
    context = ssl.create_default_context(cafile=str(certificates.authority)) if tls else None
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX + 3)]
    for each in silent:  # the server closes them all, the last ones at once
        each.settimeout(HANG_S)
        with contextlib.suppress(ConnectionError):
            assert each.recv(1) == b""
        each.close()
    assert "answer 42.0" in scrape(port, context)


def test_a_byte_now_and_then_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "TOTAL_S", 0.5)
    port = start()
    with contextlib.ExitStack() as opened:
        peers = []
        for _ in range(CONNECTIONS_MAX):
            peer = opened.enter_context(
                socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
            )
            peer.sendall(b"GET /metrics HTTP/1.1\r\nx: ")
            peer.settimeout(0.05)
            peers.append(peer)
        while peers:
            for peer in [*peers]:
                try:
                    peer.send(b"y")
                    if peer.recv(4096):
                        continue
                except TimeoutError:
                    continue
                except OSError:
                    pass
                peers.remove(peer)
    assert "answer 42.0" in scrape(port)


@pytest.mark.parametrize("failing", ["dup", "start"])
def test_a_lack_of_descriptors_or_threads_holds_no_place(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    port = start()

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, "") if failing == "dup" else RuntimeError("no thread left")

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "dup") if failing == "dup" else (threading.Timer, "start")), fail)
        for _ in range(CONNECTIONS_MAX):
            with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as peer:
                assert peer.recv(1) == b"", "closed at once"
    assert "answer 42.0" in scrape(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /../../../etc/passwd HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 1_000_000,
        b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n",
        b"GET /metrics?name[]=\xff%00 HTTP/1.1\r\nAccept: \x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00" * 5000,
    ],
)
def test_wrong_requests_end_nothing(sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    port = start()
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as peer:
        received = b""
        with contextlib.suppress(OSError):
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65536):
                received += part
    assert b"root:" not in received
    assert "answer 42.0" in scrape(port)
    assert capfd.readouterr().err == ""


def test_a_slow_reader_holds_one_thread(server_files: dict[str, str]) -> None:
    port = start()
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /../../etc/passwd HTTP/1.0\r\n")  # and no end of the request
        assert "answer 42.0" in scrape(port)
        slow.sendall(b"\r\n")
        slow.settimeout(HANG_S)
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert b"200 OK" in answer
    assert b"answer 42.0" in answer  # every path gives the metrics, no path gives a file


def wrong_files(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    certificate, key = (str(path) for path in Certificates(folder).make("a"))
    other_key = str(Certificates(folder).make("b")[1])
    text, readable, short = folder / "text", folder / "readable.key", folder / "short"
    text.write_text("no certificate")
    text.chmod(0o600)
    readable.write_text(Path(key).read_text())
    readable.chmod(0o644)
    short.write_text("short")
    short.chmod(0o600)
    tls = {"tls_certificate": certificate, "tls_key": key}
    yield {**tls, "tls_key": other_key}, "key values mismatch"
    yield {**tls, "tls_key": str(readable)}, "expected mode 0600"
    yield {**tls, "tls_key": str(folder / "gone")}, "metrics.tls_key"
    yield {**tls, "tls_certificate": str(text)}, "metrics.tls_certificate"
    yield {**tls, "tls_client_ca": str(text)}, "metrics.tls_client_ca"
    yield {**tls, "tls_client_ca": str(folder / "gone")}, "No such file"
    yield {"token_file": str(short)}, "16 or more printable"
    yield {"token_file": str(readable)}, "expected mode 0600"
    yield {"token_file": str(folder / "gone")}, "make one with"


def test_wrong_files_are_named_in_one_line(tmp_path: Path) -> None:
    for files, words in wrong_files(tmp_path):
        with pytest.raises(ConfigError) as caught:
            start(**files)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"metrics.address '{address}': Address already in"):
            serve(CollectorRegistry(), MetricsConfig(address=address))
