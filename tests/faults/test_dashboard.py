"""The operator's page under hostile and slow peers, and what it costs. ``SECONDS`` of the cost."""

import contextlib
import http.client
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.dashboard.tokens import new_token
from tests.support.daemons import PURPOSE, RunningDaemon, resident_mb
from tests.support.dashboards import RunningDashboard, Viewer
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stage

TRIES = int(os.environ.get("TRIES", "10000"))
SECONDS = float(os.environ.get("SECONDS", "60"))
CPU_SHARE_MAX = 0.05


def cpu_s(process: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningDaemon]:
    faces = getattr(request, "param", 1)
    with RunningDaemon(
        tmp_path, "--source", "/dev/video0", *PURPOSE, module=SYNTHETIC,
        environment={"SYNTHETIC_FACES": str(faces)},
    ) as running:  # fmt: skip
        running.wait_for_frame()
        yield running


@pytest.fixture
def page(tmp_path: Path, daemon: RunningDaemon) -> Iterator[RunningDashboard]:
    addresses = ("--connect", daemon.endpoint, "--service", daemon.service)
    with RunningDashboard(tmp_path, *addresses) as running:
        yield running


def test_ten_thousand_tries_without_the_token_give_nothing(
    tmp_path: Path, daemon: RunningDaemon
) -> None:
    token = tmp_path / "token"
    new_token(token)
    addresses = ("--connect", daemon.endpoint, "--service", daemon.service)
    arguments = (*addresses, "--token-file", str(token))
    with RunningDashboard(tmp_path, *arguments, bind="0.0.0.0:0") as page:
        statuses: dict[int, int] = {}
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
        right = token.read_text().strip()
        for number in range(TRIES):
            match number % 4:
                case 0:
                    body = json.dumps({"token": right[:-1] + chr(33 + number % 90)})
                    connection.request("POST", "/api/login", body, page.origin)
                case 1:
                    cookie = {"cookie": f"affect-edge={right if number % 8 == 1 else number}"}
                    connection.request("GET", "/api/stream", headers=cookie)
                case 2:
                    body = json.dumps(
                        {"chamber": "c1", "request": {"request": "mark", "text": "x"}}
                    )
                    connection.request("POST", "/api/command", body, page.origin)
                case _:
                    connection.request("GET", f"/api/history?chamber=c1&card=t:1.1&token={right}")
            response = connection.getresponse()
            content = response.read()
            statuses[response.status] = statuses.get(response.status, 0) + 1
            assert response.getheader("set-cookie") is None
            assert b"smoothed" not in content
        connection.close()
        print(f"{TRIES} tries: {statuses}; {resident_mb(page.process.pid):.0f} MB afterwards")
        assert statuses.keys() <= {401, 429}
        assert right not in page.stderr
    assert not daemon.events("mark")


def test_connections_without_a_request_do_not_keep_others_out(page: RunningDashboard) -> None:
    silent = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(150)]
    for each in silent[::2]:
        each.sendall(b"GET / HTTP/1.1\r\nHost: local")
    deadline = time.monotonic() + 40
    while True:
        with contextlib.suppress(OSError):
            if page.request("GET", "/api/about")[0] == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    for each in silent:
        each.close()


@pytest.mark.parametrize("daemon", [30], indirect=True)
def test_viewers_that_read_nothing_delay_nobody_and_take_no_memory(page: RunningDashboard) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{page.process.pid}/fd").iterdir()))

    stuck = []
    for _ in range(8):
        each = socket.socket()
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.connect(("127.0.0.1", page.port))
        each.sendall(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        stuck.append(each)
    with Viewer(page.port) as viewer:
        viewer.wait_for(lambda seen: len(seen.cards.get("c1", ())) == 30)
        time.sleep(5)  # buffers of the kernel fill
        before_mb, with_them = resident_mb(page.process.pid), open_files()
        times = []
        began = time.monotonic()
        for _ in viewer.updates():
            times.append(time.monotonic())
            if times[-1] - began > 30:
                break
        gaps = sorted(after - before for before, after in itertools.pairwise(times))
        grown_mb = resident_mb(page.process.pid) - before_mb
        print(
            f"{len(times) / 30:.1f} updates/s, 99 %: {gaps[int(len(gaps) * 0.99)] * 1e3:.0f} ms,"
            f" memory {grown_mb:+.1f} MB"
        )
        assert len(times) / 30 > 5
        assert gaps[int(len(gaps) * 0.99)] < 1
        assert grown_mb < 12  # the histories of thirty cards fill meanwhile
    # the kernel cuts them after half a minute, without a word in the log
    wait_until(lambda: open_files() <= with_them - 9, 60)  # and the viewer has gone
    print(f"{with_them} open files with them, {open_files()} afterwards")
    assert page.stderr.count("\n") == 1, page.stderr
    for each in stuck:
        each.close()


def test_the_page_takes_little_of_a_core(page: RunningDashboard) -> None:
    with Viewer(page.port, timeout_s=60) as viewer:
        viewer.wait_for(lambda seen: seen.cards)
        begun, used_s, count = time.monotonic(), cpu_s(page.process.pid), 0
        for _ in viewer.updates():
            count += 1
            if time.monotonic() - begun > SECONDS:
                break
        elapsed_s = time.monotonic() - begun
        share = (cpu_s(page.process.pid) - used_s) / elapsed_s
    memory_mb = resident_mb(page.process.pid)
    print(f"{share:.2%} of a core, {count / elapsed_s:.1f} updates/s, {memory_mb:.0f} MB")
    assert share <= CPU_SHARE_MAX
