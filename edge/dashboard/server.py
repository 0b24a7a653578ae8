"""``affect-edge dashboard``: opens the sockets, starts the threads, and serves the page."""

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge.dashboard.directory import ServiceThread
from edge.dashboard.listener import Listener
from edge.dashboard.receiver import Receiver
from edge.dashboard.state import State
from edge.dashboard.tokens import Sessions, read_token
from edge.descriptors import report_line
from edge.errors import ConfigError
from edge.files.private import read_small_file
from edge.files.regular import refuse_special
from edge.stop_signals import on_stop_signals

if TYPE_CHECKING:  # they need the extra ``dashboard``
    from edge.dashboard.viewers import Viewers
    from edge.dashboard.web_server import WebServer

_USER_TIMEOUT_MS: Final = 30_000  # a peer that takes nothing for so long is cut by the kernel


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """The command line of ``affect-edge dashboard``.

    Attributes:
        endpoints: where daemons publish.
        services: where they answer requests; empty: no history and no buttons.
        bind: ``HOST:PORT``.
        token_file: with the token that browsers must give; None: none.
        allow_host: names by which browsers reach this machine.
        tls_cert, tls_key: PEM files; both or none.
        marks: texts of the keys 1 to 9.
        history_s: how much of the past is read at the start, seconds.
        viewers_max: viewers at a time.
    """

    endpoints: Sequence[str]
    services: Sequence[str]
    bind: str
    token_file: Path | None
    allow_host: Sequence[str]
    tls_cert: Path | None
    tls_key: Path | None
    marks: Sequence[str]
    history_s: float
    viewers_max: int


def run_dashboard(options: DashboardOptions) -> None:
    """Serve the page until a stop signal.

    Raises:
        ConfigError: an address, file or name is wrong, or the extra ``dashboard`` is not installed.
    """
    try:
        import starlette  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"dashboard: the package {error.name} is missing; install the extra:"
            " pip install 'affect-edge[dashboard]'"
        ) from error
    from edge.dashboard.app import PageSettings, make_app  # noqa: PLC0415
    from edge.dashboard.viewers import Viewers  # noqa: PLC0415
    from edge.dashboard.web_guard import HostCheck  # noqa: PLC0415
    from edge.dashboard.web_server import WebServer  # noqa: PLC0415

    host, port = _parse_bind(options.bind)
    hosts = HostCheck(host, options.allow_host)
    if not hosts.is_loopback and options.token_file is None:
        raise ConfigError(
            f"--bind {options.bind}: other machines can reach this address; expected --token-file"
            " FILE beside it (make one with: affect-edge dashboard --new-token FILE), or an"
            " address of this machine such as 127.0.0.1:8080"
        )
    token = b"" if options.token_file is None else read_token(options.token_file)
    _check_tls(options.tls_cert, options.tls_key)
    state = State(options.services)
    settings = PageSettings(tuple(options.marks), options.tls_cert is not None, options.viewers_max)
    viewers = Viewers(state, options.viewers_max)
    listener = listen(host, port, options.bind)

    app = make_app(state, Sessions(token), viewers, hosts, settings)
    web = WebServer(app, options, listener)
    with listener:
        asyncio.run(_serve(web, viewers, state, listener, options))


async def _serve(
    web: "WebServer",
    viewers: "Viewers",
    state: State,
    listener: Listener,
    options: DashboardOptions,
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        web.should_exit = True
        viewers.stop()

    def stop_soon(*_: object) -> None:
        loop.call_soon_threadsafe(stop)

    receiver = Receiver(options.endpoints, options.services, state, stop_soon)
    on_stop_signals(stop_soon)
    receiver.start()
    history_ns = int(options.history_s * 1e9)
    threads = [ServiceThread(each, state, history_ns) for each in options.services]
    for thread in threads:
        thread.start()
    watching = asyncio.ensure_future(viewers.watch())
    report_line(f"the page is at {_url(listener, options)}")
    try:
        await web.serve(sockets=[listener])
    finally:
        stop()
        for thread in threads:
            thread.stop()
        await watching
        await asyncio.to_thread(receiver.stop)
    if receiver.error is not None:
        raise receiver.error


def _url(listener: socket.socket, options: DashboardOptions) -> str:
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{'http' if options.tls_cert is None else 'https'}://{name}:{port}/"


def _parse_bind(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):(\d{1,5})", text)
    if match is None or not 0 <= int(match[2]) < 65536:
        raise ConfigError(f"--bind {text!r}: expected HOST:PORT, such as 127.0.0.1:8080")
    return match[1].strip("[]"), int(match[2])


def listen(host: str, port: int, text: str) -> Listener:
    """Return a socket that listens at an address; ``text``: as the operator gave it.

    Raises:
        ConfigError: the address is none of this machine, or not free.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # with its protocol: only then asyncio sets TCP_NODELAY; else a response takes 40 ms
        listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            listener.bind(address)
            listener.listen(64)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"--bind {text}: {error.strerror}; expected a free address of this machine, such as"
            " 127.0.0.1:8080"
        ) from error
    listener.setblocking(False)
    return listener


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ConfigError("--tls-cert and --tls-key: expected both, or neither")
    read_small_file(
        key, "--tls-key", private=True, remedy="expected the key of --tls-cert, in PEM",
        bytes_max=1 << 16,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        refuse_special(certificate)
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason: Any = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        words = str(reason).lower().replace("_", " ")
        raise ConfigError(
            f"--tls-cert {certificate} and --tls-key {key}: {words};"
            " expected a certificate and its key without a password, in PEM"
        ) from error
