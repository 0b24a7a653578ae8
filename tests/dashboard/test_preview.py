"""The daemon's preview on the operator's page: a real daemon on the demo clip, over HTTP."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.client.ask import ask
from edge.dashboard.preview import LEASE_S, PERIOD_S
from edge.protocol.requests import MarkRequest, PreviewRequest
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.dashboards import JSON, RunningDashboard, Viewer
from tests.support.keys import KeyFolder
from tests.support.waiting import wait_until

ENABLED = ("--set", "preview.enabled=true")


def demo(folder: Path, *more: str) -> RunningDaemon:
    folder.mkdir(exist_ok=True)
    return RunningDaemon(
        folder,
        *("--source", "demo", "--set", "source.repeat=0", *PURPOSE),
        *("--set", f'journal.path="{folder / "journal"}"', *more),
    )


def addresses(daemon: RunningDaemon) -> list[str]:
    return ["--connect", daemon.endpoint, "--service", daemon.service]


class Picture:
    """One viewer of a page's pictures."""

    def __init__(self, page: RunningDashboard, chamber: str) -> None:
        self.page = page
        self.chamber = chamber
        self.viewer = ""

    def ask(self, action: str) -> tuple[int, dict[str, str], bytes]:
        body = {"chamber": self.chamber, "action": action, "viewer": self.viewer}
        return self.page.request("POST", "/api/preview", body, self.page.origin)

    def open(self) -> float:
        status, _, reply = self.ask("open")
        assert status == 200, reply
        self.viewer = json.loads(reply)["viewer"]
        return float(json.loads(reply)["left_s"])

    def refused(self, action: str) -> tuple[int, str]:
        status, headers, reply = self.ask(action)
        assert headers["content-type"] == "application/json"
        text = json.loads(reply)["error"]
        assert "\n" not in text
        return status, text

    def newest(self) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a picture, as soon as there is one."""
        found: list[tuple[dict[str, str], bytes]] = []

        def come() -> bool:
            status, headers, body = self.ask("picture")
            assert status in (200, 204), body
            if status == 200:
                found.append((headers, body))
            return bool(found)

        wait_until(come)
        return found[0]


def chamber_of(page: RunningDashboard, **shown: object) -> str:
    """Return the chamber that can be asked, as soon as the page shows ``shown`` of it."""

    def is_shown(viewer: Viewer) -> Any:
        return next(
            (
                name for name, each in viewer.chambers.items()
                if each["can_ask"] and all(each[key] == value for key, value in shown.items())
            ),
            None,
        )  # fmt: skip

    with Viewer(page.port) as viewer:
        return str(viewer.wait_for(is_shown))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with demo(tmp_path_factory.mktemp("preview") / "d", *ENABLED) as running:
        running.wait_for_frame()
        yield running


@pytest.fixture
def page(tmp_path: Path, daemon: RunningDaemon) -> Iterator[RunningDashboard]:
    with RunningDashboard(tmp_path, *addresses(daemon)) as running:
        yield running
        running.stop()


def is_open(viewer: Viewer, chamber: str) -> bool:
    return viewer.chambers.get(chamber, {}).get("status", {}).get("preview_s") is not None


def closings(daemon: RunningDaemon) -> int:
    """Return how often the preview has been closed up to now."""
    text = f"mark {len(daemon.events('mark'))}"
    ask(daemon.service, MarkRequest(text=text))
    daemon.wait_for(lambda message: message.get("detail") == {"text": text})
    return len(daemon.events("preview_closed"))


def closed(daemon: RunningDaemon, count: int) -> dict[str, Any]:
    """Return the detail of the event by which the preview was closed for the ``count``-th time."""
    if len(daemon.events("preview_closed")) < count:
        daemon.wait_for(lambda _: len(daemon.events("preview_closed")) >= count)
    return dict(daemon.events("preview_closed")[-1]["detail"])


def test_the_viewer_who_opened_it_sees_pictures_and_they_are_kept_nowhere(
    page: RunningDashboard, daemon: RunningDaemon, tmp_path: Path
) -> None:
    before = closings(daemon)
    picture = Picture(page, chamber_of(page, preview=True))
    assert picture.refused("picture")[0] == 410
    assert picture.open() == pytest.approx(300, abs=1)
    headers, jpeg = picture.newest()
    assert headers["content-type"] == "image/jpeg"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "img-src 'self' data:;" in headers["content-security-policy"]
    assert 280 < float(headers["x-left-s"]) <= 300
    luma = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert luma is not None
    assert luma.shape == (180, 320)
    assert luma.std() > 2  # the clip, which has dark stretches, not a grey area
    begun = time.monotonic()
    for _ in range(3):
        picture.newest()
    assert time.monotonic() - begun >= 2 * PERIOD_S  # at most one in so long
    with Viewer(page.port) as viewer:
        viewer.wait_for(lambda seen: is_open(seen, picture.chamber))
        _, later = picture.newest()
        shown = json.dumps([viewer.chambers, viewer.cards, viewer.events])
    assert picture.ask("close")[0] == 200
    assert closed(daemon, before + 1)["reason"] == "requested"
    assert picture.refused("picture")[0] == 410
    assert picture.ask("close")[0] == 200  # once more does nothing
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        content = path.read_bytes()
        assert jpeg[100:140] not in content, path
        assert later[100:140] not in content, path
    assert "jpeg" not in shown
    assert page.stderr.count("\n") == 1  # the address, and nothing else


def test_a_second_viewer_gets_a_line(page: RunningDashboard, daemon: RunningDaemon) -> None:
    first, second = (Picture(page, chamber_of(page, preview=True)) for _ in range(2))
    first.open()
    status, text = second.refused("open")
    assert status == 409
    assert "only one viewer can see it" in text
    assert second.refused("picture")[0] == 410
    second.viewer = "x" * 32
    assert second.refused("picture")[0] == 410
    assert second.ask("close")[0] == 200
    first.newest()  # the other one could not close it
    first.ask("close")
    ask(daemon.service, PreviewRequest(action="open"))  # by another program
    assert second.refused("open") == (status, text)
    assert first.refused("picture")[0] == 410
    ask(daemon.service, PreviewRequest(action="close"))


def test_what_another_program_closed_is_closed(
    page: RunningDashboard, daemon: RunningDaemon
) -> None:
    picture = Picture(page, chamber_of(page, preview=True))
    picture.open()
    picture.newest()
    ask(daemon.service, PreviewRequest(action="close"))
    status, text = picture.refused("picture")
    assert status == 410
    assert "closed" in text


def test_a_viewer_who_is_gone_and_the_end_of_the_page_close_it(
    page: RunningDashboard, daemon: RunningDaemon
) -> None:
    before = closings(daemon)
    picture = Picture(page, chamber_of(page, preview=True))
    picture.open()
    begun = time.monotonic()
    closed(daemon, before + 1)
    assert time.monotonic() - begun >= LEASE_S - 1
    picture.open()
    assert page.stop() == 0
    assert closed(daemon, before + 2)["reason"] == "requested"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"host": "evil.example"}, 421),
    ],
)
def test_another_site_gets_no_picture(
    page: RunningDashboard, headers: dict[str, str], status: int
) -> None:
    body = {"chamber": "c1", "action": "open"}
    asked = {**page.origin, **headers}
    assert page.request("POST", "/api/preview", body, asked)[0] == status
    assert page.request("POST", "/api/preview", body, JSON)[0] == 403
    assert page.request("GET", "/api/preview?chamber=c1&action=picture")[0] == 405


@pytest.mark.parametrize("body", [{}, {"chamber": "c1"}, {"chamber": "c1", "action": "save"}, []])
def test_what_is_no_request_is_refused(page: RunningDashboard, body: object) -> None:
    assert page.request("POST", "/api/preview", body, page.origin)[0] == 422
    other = {"chamber": "c9", "action": "open"}
    assert page.request("POST", "/api/preview", other, page.origin)[0] == 503


def test_it_is_refused_where_it_is_off(tmp_path: Path) -> None:
    with (
        demo(tmp_path / "d") as daemon,
        RunningDashboard(tmp_path, *addresses(daemon)) as page,
    ):
        daemon.wait_for_frame()
        status, text = Picture(page, chamber_of(page, preview=False)).refused("open")
        assert status == 409
        assert "preview.enabled = true" in text


def test_a_key_that_may_only_read_gets_a_line(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", "page", "watcher")
    settings = (*keys.settings(), "--set", 'security.operators=["page"]', *ENABLED)
    with demo(tmp_path / "d", *settings) as daemon:
        for name in ("watcher", "page"):
            arguments = (*addresses(daemon), *keys.options(name))
            with RunningDashboard(tmp_path, *arguments) as page:
                picture = Picture(page, chamber_of(page, preview=True))
                if name == "page":
                    picture.open()
                    picture.newest()
                else:
                    status, text = picture.refused("open")
                    assert status == 403
                    assert "security.operators" in text


def test_it_expires(tmp_path: Path) -> None:
    with (
        demo(tmp_path / "d", *ENABLED, "--set", "preview.minutes=0.03") as daemon,
        RunningDashboard(tmp_path, *addresses(daemon)) as page,
    ):
        picture = Picture(page, chamber_of(page, preview=True))
        assert picture.open() <= 1.8
        assert closed(daemon, 1)["reason"] == "expired"
        assert picture.refused("picture")[0] == 410
        picture.open()  # it can be opened again
