"""Beyond this machine: nothing without the token, in a real server."""

import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import cli
from edge.dashboard.tokens import new_token
from tests.support.certificates import Certificates
from tests.support.dashboards import RunningDashboard, Viewer

ENDPOINT = ("--connect", "ipc:///tmp/affect-edge-nobody", "--service", "")
PATHS = ("/api/stream", "/api/history?chamber=c1&card=x", "/api/about", "/static/main.js", "/x")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[RunningDashboard]:
    new_token(tmp_path / "token")
    arguments = (*ENDPOINT, "--token-file", str(tmp_path / "token"), "--allow-host", "lab-pc")
    with RunningDashboard(tmp_path, *arguments, bind="0.0.0.0:0") as running:
        yield running


def log_in(page: RunningDashboard, token: str) -> tuple[int, dict[str, str], str]:
    status, headers, body = page.request("POST", "/api/login", {"token": token}, page.origin)
    return status, headers, body.decode()


def test_without_the_token_there_is_nothing(page: RunningDashboard, tmp_path: Path) -> None:
    for path in PATHS:
        status, headers, body = page.request("GET", path)
        assert status == 401
        assert json.loads(body).keys() == {"error"}
        assert "set-cookie" not in headers
    assert page.request("POST", "/api/command", {}, page.origin)[0] == 401
    status, _, body = page.request("GET", "/")
    assert status == 200
    assert b'id="token"' in body
    assert b"main.js" not in body
    token = (tmp_path / "token").read_text().strip()
    assert page.request("GET", f"/api/about?token={token}")[0] == 401
    assert page.request("GET", "/api/about", headers={"authorization": f"Bearer {token}"})[0] == 401


def test_with_the_token_a_session_begins(page: RunningDashboard, tmp_path: Path) -> None:
    token = (tmp_path / "token").read_text().strip()
    assert log_in(page, token[:-1])[0] == 401
    status, headers, _ = log_in(page, token)
    assert status == 200
    cookie = headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert word in cookie
    own = {"cookie": cookie.partition(";")[0]}
    assert b"main.js" in page.request("GET", "/", headers=own)[2]
    with Viewer(page.port, own) as viewer:
        assert next(viewer.updates())["whole"] is True
        page.request("POST", "/api/logout", {}, {**page.origin, **own})
        for _ in viewer.updates():  # the stream ends with the session
            pass
    assert page.request("GET", "/api/about", headers=own)[0] == 401
    assert token not in page.stderr


def test_cookies_of_other_applications_do_not_hide_the_session(
    page: RunningDashboard, tmp_path: Path
) -> None:
    _, headers, _ = log_in(page, (tmp_path / "token").read_text().strip())
    own = headers["set-cookie"].partition(";")[0]
    for cookies in (
        f'x={{"a": 1}}; {own}', f"a[b]=c; {own}", f"{own}; =; x", f"é={{;{own}",
        f"xaffect-edge=y;{own}",
    ):  # fmt: skip
        header = {"cookie": cookies.encode().decode("latin-1")}
        assert page.request("GET", "/api/about", headers=header)[0] == 200, cookies
    assert page.request("GET", "/api/about", headers={"cookie": f"x{own}"})[0] == 401


def test_many_wrong_tokens_are_delayed(page: RunningDashboard, tmp_path: Path) -> None:
    for _ in range(5):
        assert log_in(page, "wrong")[0] == 401
    status, headers, body = log_in(page, (tmp_path / "token").read_text())
    assert status == 429
    assert int(headers["retry-after"]) >= 1
    assert "try again in" in body


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 7}', b'{"token": null}', b"\xff", b"{"])
def test_a_login_that_is_none_is_refused(page: RunningDashboard, body: bytes) -> None:
    assert page.request("POST", "/api/login", body, page.origin)[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [("lab-pc:8080", 200), ("192.0.2.7", 200), ("[2001:db8::1]:80", 200), ("evil.example", 421)],
)
def test_names_beyond_this_machine_are_listed(
    page: RunningDashboard, host: str, status: int
) -> None:
    assert page.request("GET", "/", headers={"host": host})[0] == status


def test_tls(tmp_path: Path) -> None:
    new_token(tmp_path / "token")
    certificates = Certificates(tmp_path)
    certificate, key = certificates.make("page")
    arguments = (
        *(*ENDPOINT, "--token-file", str(tmp_path / "token")),
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
    )
    with RunningDashboard(tmp_path, *arguments, bind="0.0.0.0:0") as page:
        assert "https://" in page.stderr
        url, body = f"https://127.0.0.1:{page.port}", (tmp_path / "token").read_text().strip()
        request = urllib.request.Request(
            f"{url}/api/login",
            json.dumps({"token": body}).encode(),
            {"content-type": "application/json", "origin": url},
        )
        context = ssl.create_default_context(cafile=str(certificates.authority))
        with urllib.request.urlopen(request, context=context) as response:
            cookie = response.headers["set-cookie"]
        assert "Secure" in cookie
        assert cookie.startswith("__Host-")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--bind", "0.0.0.0:8080"), "expected --token-file"),
        (("--bind", "[::]:8080"), "expected --token-file"),
        (("--bind", "192.0.2.7:8080"), "expected --token-file"),
        (("--bind", "8080"), "expected HOST:PORT"),
        (("--bind", "127.0.0.1:99999"), "expected HOST:PORT"),
        (("--bind", "nowhere.invalid:80"), "nowhere.invalid"),
        (("--token-file", "nowhere"), "No such file"),
        (("--tls-cert", "nowhere"), "expected both"),
        (("--tls-cert", "nowhere", "--tls-key", "nowhere"), "No such file"),
        (("--allow-host", "http://lab-pc/"), "without scheme"),
        (("--mark", "two\nlines"), "one line"),
        (("--history", "13h"), "at most 12h"),
        (("--history", "yesterday"), "such as 30m"),
        (("--connect", "tcp://host:99999", "--service", ""), "port from 1 to 65535"),
        (("--connect", "nowhere", "--service", ""), "expected tcp://HOST:PORT"),
    ],
)
def test_a_wrong_option_gives_one_line(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bind = () if "--bind" in arguments else ("--bind", "127.0.0.1:0")  # not one that is in use
    assert cli.run_command_line(["dashboard", *bind, *arguments]) == 78
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_an_address_in_use_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert cli.run_command_line(["dashboard", "--bind", bind]) == 78
    error = capsys.readouterr().err
    assert "in use" in error
    assert error.count("\n") == 1


def test_a_page_without_services_says_so(tmp_path: Path) -> None:
    with RunningDashboard(tmp_path, "--connect", f"ipc://{tmp_path}/nobody") as page:
        assert "without --service the page has no buttons and no history" in page.stderr
        assert page.command("c1", request="mark", text="x")[0] == 503
