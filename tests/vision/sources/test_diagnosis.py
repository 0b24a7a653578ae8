"""Why a network camera gives no video: what it answers, and what to do."""

import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.clock import elapsed_ms, monotonic_ns
from edge.config import StreamSource
from edge.errors import SourceStalled, SourceUnavailable
from edge.vision.sources import diagnosis, stream
from edge.vision.sources.diagnosis import diagnose
from edge.vision.sources.stream import Stream
from tests.support.answering_cameras import (
    AUDIO,
    CODED_PASSWORD,
    NONCE,
    PASSWORD,
    REALM,
    USER,
    Reply,
    http,
    is_authorized,
    jpeg,
    mjpeg,
    rtsp,
    serving,
)
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, QuietTime

PAGE = b"<html><img src=/video.mjpg></html>"


def camera(port: int, scheme: str = "http", user: str = "", **settings: Any) -> StreamSource:
    """Return the configuration of a camera on this machine."""
    url = f"{scheme}://{user}127.0.0.1:{port}/live?secret"
    limits = {"open_timeout_s": 1.0, "read_timeout_s": 0.5}
    return StreamSource.model_validate({"kind": "stream", "url": url, **limits, **settings})


def refusal(config: StreamSource) -> str:
    """Return the error of opening a camera."""
    with pytest.raises(SourceUnavailable) as caught, Stream(config):
        pass
    text = str(caught.value)
    assert text.startswith(f"{config.url.partition(':')[0]}://")
    assert ": no video" in text
    assert "secret" not in text.lower().replace("/...", "")
    assert "\n" not in text
    return text


def always(answer: bytes) -> Reply:
    return lambda line, headers: answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http("200 OK", "text/html; charset=utf-8", PAGE), "a page (text/html)"),
        (http("200 OK", "image/jpeg", jpeg(1)), "a single picture (image/jpeg)"),
        (http("200 OK", "application/json", b"{}"), "application/json, which holds no video"),
        (http("401 Unauthorized"), "wants user and password"),
        (http("403 Forbidden"), "refuses access (403 Forbidden)"),
        (http("404 Not Found"), "no such stream (404 Not Found); check the path"),
        (http("503 Busy"), "refuses (503 Busy); check the address, and how many clients"),
        (http("302 Found", Location="/live"), "redirects more than"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not with HTTP; check scheme and port"),
        (b"RTSP/1.0 400 Bad Request\r\n\r\n", "with RTSP, not with HTTP"),
        (b"", "closes the connection without an answer"),
        (mjpeg(0), "announces MJPEG, but delivers no pictures"),
        (mjpeg(1), "announces MJPEG, but delivers no pictures"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answer_over_http_is_named(
    answer: bytes, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(always(answer)) as requests:
        assert words in refusal(camera(requests.port))
    assert capfd.readouterr() == ("", "")


def test_redirects_are_followed_to_the_answer() -> None:
    def reply(line: str, headers: dict[str, str]) -> bytes:
        if line.startswith("GET /live"):
            return http("302 Found", Location="/login")
        return http("200 OK", "text/html", PAGE)

    with serving(reply) as requests:
        assert "a page (text/html)" in refusal(camera(requests.port))


@pytest.mark.parametrize("challenge", ["Basic", "Digest", "Digest with qop"])
@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("", "wants user and password"),
        (f"{USER}:wrong@", "refuses user and password"),
        (f"{USER}:{CODED_PASSWORD}@", "a page (text/html)"),
    ],
)
def test_user_and_password_are_sent_as_the_camera_wants(
    challenge: str, user: str, words: str
) -> None:
    qop = challenge.endswith("qop")
    wanted = f'Digest realm="{REALM}", nonce="{NONCE}"' + (', qop="auth"' if qop else "")
    basic = "Basic YWRtaW46UzNjcmV0Oi8="  # admin:S3cret:/

    def reply(line: str, headers: dict[str, str]) -> bytes:
        sent = headers.get("authorization", "")
        is_right = sent == basic if challenge == "Basic" else is_authorized(line, sent, qop=qop)
        if is_right:
            return http("200 OK", "text/html", PAGE)
        header = 'Basic realm="camera"' if challenge == "Basic" else wanted
        return http("401 Unauthorized", WWW_Authenticate=header)

    with serving(reply) as requests:
        text = refusal(camera(requests.port, user=user))
    assert words in text
    assert PASSWORD not in text


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"setup": "461 Unsupported Transport"}, 'set source.transport = "udp"'),
        ({"describe": "404 Not Found"}, "no such stream (404 Not Found)"),
        ({"describe": "453 Not Enough Bandwidth"}, "refuses (453 Not Enough Bandwidth)"),
        ({"media": AUDIO}, "offers no video"),
        ({"setup": "454 Session Not Found"}, "refuses (454 Session Not Found)"),
    ],
)
def test_answer_over_rtsp_is_named(answers: dict[str, str], words: str, digest: bool) -> None:
    user = f"{USER}:{CODED_PASSWORD}@" if digest else ""
    with serving(rtsp(**answers, digest=digest), keep_open=True) as requests:
        assert words in refusal(camera(requests.port, "rtsp", user))


def test_camera_for_tcp_alone_is_named_for_udp() -> None:
    with serving(rtsp(setup="461 Unsupported Transport"), keep_open=True) as requests:
        text = refusal(camera(requests.port, "rtsp", transport="udp"))
    assert 'set source.transport = "tcp"' in text


@pytest.mark.parametrize(
    ("user", "words"), [("", "wants user"), (f"{USER}:wrong@", "refuses user and password")]
)
def test_wrong_password_over_rtsp_is_named(user: str, words: str) -> None:
    with serving(rtsp(digest=True), keep_open=True) as requests:
        assert words in refusal(camera(requests.port, "rtsp", user))


def test_camera_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing listens at its port" in refusal(camera(free_port(), "rtsp"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "http_proxy is not used" in refusal(camera(free_port()))
    unknown = StreamSource(kind="stream", url="rtsp://no-such-host.invalid/x")
    assert "cannot be resolved" in refusal(unknown)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(1, "Operation not permitted"), "IPAddressAllow"),
        (OSError(113, "No route to host"), "cannot be reached (No route to host)"),
        (TimeoutError(), "does not answer in time"),
        (ssl.SSLError(1, "wrong version number"), "does not speak TLS"),
    ],
)
def test_errors_of_the_connection_are_named(
    error: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(diagnosis.socket, "create_connection", fail)
    assert words in (diagnose(camera(1), 1.0) or "")


@pytest.mark.parametrize("password", ["a#b", "a/b", "a?b"])
def test_an_address_broken_by_its_password_is_explained(password: str) -> None:
    reason = diagnose(camera(1, "rtsp", f"me:{password}@"), 1.0) or ""
    assert "its address is not valid" in reason
    assert "in a password %23 for #" in reason


def test_server_without_tls_is_named() -> None:
    with serving(always(http("400 Bad Request"))) as requests:
        assert "does not speak TLS" in refusal(camera(requests.port, "https"))


def test_slow_answer_ends_at_the_time_limit() -> None:
    stop = threading.Event()

    def trickle(line: str, headers: dict[str, str]) -> bytes:
        stop.wait(HANG_S)
        return b""

    with serving(trickle) as requests:
        began_ns = monotonic_ns()
        assert "does not answer in time" in (diagnose(camera(requests.port), 0.3) or "")
        assert elapsed_ms(began_ns) < HANG_S * 1e3 / 2
        stop.set()


def test_camera_is_asked_once_although_it_is_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[StreamSource] = []
    monkeypatch.setattr(diagnosis, "diagnose", lambda config, _: asked.append(config))
    config = camera(free_port())
    for _ in range(3):
        assert "expected a camera that answers at source.url" in refusal(config)
    assert len(asked) == 1
    monkeypatch.setattr(stream, "_DIAGNOSIS_NS", 0)
    refusal(config)
    assert len(asked) == 2


def test_single_picture_is_no_frame_and_no_end() -> None:
    with serving(always(http("200 OK", "image/jpeg", jpeg(1)))) as requests:
        for _ in range(2):
            assert "single picture" in refusal(camera(requests.port))


def test_damaged_picture_at_the_start_is_no_end() -> None:
    answer = mjpeg(8, damaged=1)
    with serving(always(answer)) as requests, Stream(camera(requests.port)) as source:
        assert source.read().luma.shape == (48, 64)


def test_slow_camera_is_opened_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera whose next picture may come after the hub's limit for one call is not waited for."""
    monkeypatch.setattr(stream, "_CALL_S", 2.0)
    first = mjpeg(2)[: len(mjpeg(1))]
    stop = threading.Event()

    def reply(line: str, headers: dict[str, str]) -> Iterator[bytes]:
        stop.wait(0.3)
        yield first
        stop.wait(HANG_S)

    with serving(reply) as requests:
        began = QuietTime()
        with Stream(camera(requests.port, read_timeout_s=1.8)):
            assert began.elapsed_s < 2.0
        stop.set()


def test_end_of_a_stream_is_not_called_a_timeout() -> None:
    with (
        serving(always(mjpeg(6))) as requests,
        Stream(camera(requests.port)) as source,
        pytest.raises(SourceStalled, match="the camera ended the stream; it has to be opened"),
    ):
        read_all(source.read)


def read_all(read: Callable[[], object]) -> None:
    for _ in range(20):
        read()


def test_camera_is_not_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(http("502 Bad Gateway"))) as proxy, serving(always(mjpeg(6))) as requests:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with Stream(camera(requests.port, user=f"{USER}:{CODED_PASSWORD}@")) as source:
            assert source.read().luma.shape == (48, 64)
        refusal(camera(free_port()))
    assert proxy.lines == []
