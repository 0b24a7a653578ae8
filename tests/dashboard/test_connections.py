"""Peers that connect and say nothing, in a real server: they keep nobody out."""

import asyncio
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edge.dashboard.server import listen
from edge.dashboard.tokens import new_token
from tests.support.certificates import Certificates
from tests.support.dashboards import RunningDashboard, Viewer
from tests.support.waiting import HANG_S

ENDPOINT = ("--connect", "ipc:///tmp/affect-edge-nobody", "--service", "")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[RunningDashboard]:
    new_token(tmp_path / "token")
    arguments = (*ENDPOINT, "--token-file", str(tmp_path / "token"))
    with RunningDashboard(tmp_path, *arguments, bind="0.0.0.0:0") as running:
        yield running


def descriptors(page: RunningDashboard) -> int:
    return len(os.listdir(f"/proc/{page.process.pid}/fd"))


@pytest.mark.parametrize(
    ("addresses", "sent"),
    [
        (["127.0.0.1"], b""),
        ([f"127.0.0.{n}" for n in range(2, 12)], b""),
        (
            [f"127.0.0.{n}" for n in range(2, 12)],
            b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        ),
    ],
)
def test_silent_connections_keep_nobody_out(
    page: RunningDashboard, tmp_path: Path, addresses: list[str], sent: bytes
) -> None:
    token = (tmp_path / "token").read_text().strip()
    _, headers, _ = page.request("POST", "/api/login", {"token": token}, page.origin)
    own = {"cookie": headers["set-cookie"].partition(";")[0]}
    before = descriptors(page)
    with Viewer(page.port, own) as viewer, ExitStack() as held:
        next(viewer.updates())
        for number in range(300):
            source = (addresses[number % len(addresses)], 0)
            peer = socket.create_connection(("127.0.0.1", page.port), HANG_S, source)
            held.enter_context(peer)
            peer.sendall(sent)
        assert page.request("GET", "/")[0] == 200
        assert page.request("GET", "/api/about", headers=own)[0] == 200
        assert descriptors(page) <= before + 100
        with Viewer(page.port, own) as second:
            assert second.status == 200
            assert next(second.updates())["whole"] is True
        # the updates of the viewer that was there before were not cut
        page.request("POST", "/api/logout", {}, {**page.origin, **own})
        list(viewer.updates())
    assert page.process.poll() is None


@pytest.mark.parametrize("addresses", [["127.0.0.2"], [f"127.0.0.{n}" for n in range(2, 32)]])
def test_handshakes_that_never_begin_keep_nobody_out(tmp_path: Path, addresses: list[str]) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.make("page")
    files = ("--tls-cert", str(certificate), "--tls-key", str(key))
    context = ssl.create_default_context(cafile=str(certificates.authority))
    with RunningDashboard(tmp_path, *ENDPOINT, *files) as page, ExitStack() as held:

        def about() -> int:
            made = http.client.HTTPSConnection(
                "127.0.0.1", page.port, timeout=HANG_S, context=context
            )
            with closing(made) as viewer:
                viewer.request("GET", "/api/about")
                return viewer.getresponse().status

        assert about() == 200
        before = descriptors(page)
        for number in range(300):
            source = (addresses[number % len(addresses)], 0)
            held.enter_context(socket.create_connection(("127.0.0.1", page.port), HANG_S, source))
        assert about() == 200
        assert descriptors(page) <= before + 100
        assert page.stderr.count("\n") == 1, page.stderr


def test_a_handshake_that_never_ends_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.dashboard.listener.HANDSHAKE_S", 0.2)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Certificates(tmp_path).make("page"))

    async def cut() -> bytes:
        listener = listen("127.0.0.1", 0, "127.0.0.1:0")
        listener.is_tls = True
        port = listener.getsockname()[1]
        server = await asyncio.start_server(lambda *_: None, sock=listener, ssl=context)
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x16\x03\x01\x02")  # a TLS record begins
            try:
                return await asyncio.wait_for(reader.read(), HANG_S)
            finally:
                writer.close()

    assert asyncio.run(cut()) == b""
