"""The page's server in a real process, with a real daemon behind it."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.dashboard.server import listen
from edge.vocabulary import EXPRESSIONS
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.dashboards import JSON, RunningDashboard, Viewer
from tests.support.keys import KeyFolder
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.synthetic_worker import synthetic_face


def synthetic(folder: Path, *arguments: str, faces: int = 2) -> RunningDaemon:
    folder.mkdir(exist_ok=True)
    settings = [f'journal.path="{folder}/journal"', f'journal.tail="{folder}/tail"']
    return RunningDaemon(
        folder,
        *("--source", "/dev/video0", *PURPOSE),
        *(word for setting in settings for word in ("--set", setting)),
        *arguments,
        module=SYNTHETIC,
        environment={"SYNTHETIC_FACES": str(faces)},
    )


def addresses(*daemons: RunningDaemon) -> list[str]:
    found = []
    for daemon in daemons:
        found += ["--connect", daemon.endpoint, "--service", daemon.service]
    return found


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with synthetic(tmp_path / "d") as running:
        running.wait_for_frame()
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A page whose daemon no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    with synthetic(folder / "d") as daemon, RunningDashboard(folder, *addresses(daemon)) as running:
        yield running


@pytest.fixture
def page(tmp_path: Path, daemon: RunningDaemon) -> Iterator[RunningDashboard]:
    with RunningDashboard(tmp_path, *addresses(daemon), "--mark", "pressure 2.8 bar") as running:
        yield running


def is_asked(viewer: Viewer) -> Any:
    """Return the name of a chamber that can be asked, and has a status."""
    found = (name for name, each in viewer.chambers.items() if each["can_ask"] and "status" in each)
    return next(found, None)


def test_the_page_shows_what_the_wire_says(page: RunningDashboard, daemon: RunningDaemon) -> None:
    with Viewer(page.port) as viewer:
        name = viewer.wait_for(is_asked)
        card = viewer.wait_for(lambda seen: seen.cards.get(name, {}).get("t:1.2"))
        # each card is that of one frame, unmixed; which one, its numbers say
        daemon.wait_for_frame()
        frames = {
            json.dumps(list(face.expression.probabilities.model_dump().values())): face
            for index in range(daemon.frames[-1]["frame"]["index"] + 300)
            if (face := synthetic_face(index, 2)).expression is not None
        }
        face = frames[json.dumps(card["shares"])]
        assert face.expression is not None
        assert face.affect is not None
        assert card["label"] == face.expression.stable_label
        assert card["smoothed"] == [face.affect.smoothed.valence, face.affect.smoothed.arousal]
        assert len(card["shares"]) == len(EXPRESSIONS)
        viewer.wait_for(lambda seen: len([p for p in seen.points if p[1] == "t:1.2"]) >= 2)
    status, _, body = page.request("GET", f"/api/history?chamber={name}&card=t:1.2")
    times, valence, _ = json.loads(body)
    assert status == 200
    assert len(times) == len(valence) >= 2
    assert page.request("GET", "/api/history?chamber=c9&card=x")[0] == 404
    status, _, body = page.request("GET", f"/api/aim?chamber={name}")
    assert status == 200
    assert {"face size", "focus", "brightness"} <= {
        each["measure"] for each in json.loads(body)["advice"]
    }
    assert page.request("GET", "/api/aim?chamber=c9")[0] == 404


def test_buttons_change_the_record(page: RunningDashboard, daemon: RunningDaemon) -> None:
    with Viewer(page.port) as viewer:
        name = viewer.wait_for(is_asked)
        viewer.wait_for(lambda seen: seen.cards.get(name))
        assert page.command(name, request="mark", text="pressure 2.8 bar")[0] == 200
        assign = {"request": "participant", "action": "assign"}
        assert page.command(name, **assign, track=1, participant="P07")[0] == 200
        viewer.wait_for(lambda seen: seen.cards[name].get("p:P07", {}).get("in_view"))
        assert page.command(name, request="baseline", action="start", participant="P07")[0] == 200
        viewer.wait_for(lambda seen: seen.cards[name]["p:P07"]["baseline"] == "learning")
        begin = {"request": "session", "action": "begin", "name": "P07-first", "note": ""}
        assert page.command(name, **begin)[0] == 200
        viewer.wait_for(lambda seen: seen.chambers[name]["status"]["session"])
        assert page.command(name, request="session", action="end")[1]["name"] == "P07-first"
        release = {"request": "participant", "action": "release"}
        assert page.command(name, **release, participant="P07")[0] == 200
        viewer.wait_for(lambda seen: "p:P07" not in seen.cards[name])
        shown = [each["event"] for each in viewer.events]
    for event in ("mark", "participant_assigned", "baseline_started", "session_began"):
        daemon.wait_for(lambda _: bool(daemon.events(event)))  # noqa: B023 - used at once
        assert event in shown
    assert daemon.events("mark")[0]["detail"] == {"text": "pressure 2.8 bar"}


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ({"request": "mark", "text": ""}, 422, "text"),
        ({"request": "mark", "text": "two\nlines"}, 422, "one line of printable text"),
        ({"request": "participant", "action": "assign", "track": 1, "participant": "007"}, 422, ""),
        ({"request": "participant", "action": "release", "participant": "P99"}, 409, "P99"),
        ({"request": "erase", "session": "P07-first"}, 422, ""),
        ({"request": "fetch"}, 422, ""),
        ({"request": "session", "action": "end"}, 409, "session"),
    ],
)
def test_a_button_that_fails_says_why(
    shared: RunningDashboard, request_: dict[str, Any], status: int, text: str
) -> None:
    with Viewer(shared.port) as viewer:
        name = viewer.wait_for(is_asked)
    found, reply = shared.command(name, **request_)
    assert found == status
    assert text in reply["error"]
    assert "\n" not in reply["error"]


def begun(viewer: Viewer) -> list[dict[str, Any]]:
    return [each for each in viewer.events if each["event"] == "epoch_started"]


def test_a_restart_of_the_daemon_is_shown_and_what_was_missed_is_fetched(
    page: RunningDashboard, daemon: RunningDaemon, tmp_path: Path
) -> None:
    with Viewer(page.port) as viewer:
        name = viewer.wait_for(is_asked)
        daemon.process.kill()
        daemon.process.wait()
        viewer.wait_for(lambda seen: seen.chambers[name]["connected"] is False)
        assert viewer.chambers[name]["heard_ms"] > 0
        with synthetic(tmp_path / "d") as again:
            again.wait_for_frame()
            viewer.wait_for(lambda seen: seen.chambers[name]["connected"])
            viewer.wait_for(lambda seen: seen.chambers[name]["status"]["epoch"] == 2)
            assert list(viewer.chambers) == [name]
            viewer.wait_for(lambda seen: len(begun(seen)) >= 2)
            assert len(begun(viewer)) == 2
            viewer.wait_for(lambda _: page.command(name, request="mark", text="x")[0] == 200)


def test_the_journal_is_shown_at_the_start(daemon: RunningDaemon, tmp_path: Path) -> None:
    daemon.wait_for(lambda message: message["kind"] == "frame" and message["seq"] > 100)
    first = daemon.frames[0]
    with RunningDashboard(tmp_path, *addresses(daemon)) as page, Viewer(page.port) as viewer:
        name = viewer.wait_for(is_asked)
        viewer.wait_for(lambda seen: seen.cards.get(name, {}).get("t:1.1", {}).get("history"))
        times = json.loads(page.request("GET", f"/api/history?chamber={name}&card=t:1.1")[2])[0]
        assert times[0] <= first["time"]["unix_ns"] / 1e9
        status = viewer.chambers[name]["status"]
        assert status["journal"]["consumers"] == {}  # it holds nothing back


def test_three_daemons_in_one_view(tmp_path: Path) -> None:
    names = [f"chamber-{number}" for number in (1, 2, 3)]
    daemons = [
        synthetic(tmp_path / name, "--set", f'device.name="{name}"', faces=1) for name in names
    ]
    try:
        with RunningDashboard(tmp_path, *addresses(*daemons)) as page, Viewer(page.port) as viewer:
            viewer.wait_for(
                lambda seen: (
                    len(seen.cards) == 3
                    and all(
                        each["can_ask"] and each["connected"] for each in seen.chambers.values()
                    )
                )
            )
            assert sorted(each["device"] for each in viewer.chambers.values()) == names
            second = next(n for n, each in viewer.chambers.items() if each["device"] == names[1])
            assert page.command(second, request="mark", text="here")[0] == 200
            daemons[1].wait_for(lambda message: message.get("event") == "mark")
            assert not daemons[0].events("mark") + daemons[2].events("mark")
    finally:
        for daemon in daemons:
            daemon.__exit__()


def test_a_daemon_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    arguments = [
        "--connect",
        f"ipc://{tmp_path}/d/live",
        "--service",
        f"ipc://{tmp_path}/d/service",
    ]
    with RunningDashboard(tmp_path, *arguments) as page, Viewer(page.port) as viewer:
        viewer.wait_for(lambda seen: seen.unknown.get(arguments[3]) == "does not answer")
        with synthetic(tmp_path / "d"):
            viewer.wait_for(lambda seen: is_asked(seen) and not seen.unknown)


def test_a_daemon_with_keys(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", "page", "watcher")
    settings = (*keys.settings(), "--set", 'security.operators=["page"]')
    with synthetic(tmp_path / "d", *settings) as daemon:
        for name, status in (("page", 200), ("watcher", 409)):
            arguments = (*addresses(daemon), *keys.options(name))
            with RunningDashboard(tmp_path, *arguments) as page, Viewer(page.port) as viewer:
                chamber = viewer.wait_for(is_asked)
                viewer.wait_for(lambda seen: seen.cards.get(chamber))  # noqa: B023 - used at once
                found, reply = page.command(chamber, request="mark", text=name)
                assert found == status
        assert "may only read" in reply["error"]


def test_a_viewer_that_reconnects_gets_what_it_lacks(shared: RunningDashboard) -> None:
    with Viewer(shared.port) as viewer:
        viewer.wait_for(is_asked)
        last_id = viewer.last_id
    with Viewer(shared.port, {"last-event-id": last_id}) as again:
        assert next(again.updates())["whole"] is False
    with Viewer(shared.port, {"last-event-id": "other-7"}) as again:
        assert next(again.updates())["whole"] is True


def test_the_number_of_viewers_is_limited(daemon: RunningDaemon, tmp_path: Path) -> None:
    def is_served() -> bool:
        with Viewer(page.port) as another:
            return another.status == 200

    with (
        RunningDashboard(tmp_path, *addresses(daemon), "--viewers", "2") as page,
        Viewer(page.port) as first,
        Viewer(page.port) as second,
    ):
        next(first.updates())
        next(second.updates())
        assert not is_served()
        first.close()
        second.wait_for(lambda _: is_served())  # the server notices at once, but not in no time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_viewer(page: RunningDashboard, number: int) -> None:
    with Viewer(page.port) as viewer:
        next(viewer.updates())
        assert page.stop(number) == 0
    assert page.stderr.count("\n") == 1  # the address, and nothing else


def test_every_response_has_the_headers_of_protection(shared: RunningDashboard) -> None:
    for path in ("/", "/static/main.js", "/static/none.js", "/api/about", "/nowhere"):
        _, headers, _ = shared.request("GET", path)
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_another_site_cannot_press_a_button(
    shared: RunningDashboard, headers: dict[str, str], status: int
) -> None:
    own = shared.origin if headers else JSON
    assert shared.request("POST", "/api/command", {}, {**own, **headers})[0] == status
    assert shared.request("POST", "/api/command", {}, shared.origin)[0] == 422


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5", "", "a b"]
)
def test_a_foreign_host_name_gets_nothing(shared: RunningDashboard, host: str) -> None:
    for path in ("/", "/api/stream", "/static/main.js"):
        status, _, body = shared.request("GET", path, headers={"host": host})
        assert status in (400, 421)
        assert b"<html" not in body


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_this_machine_has_these_names(shared: RunningDashboard, host: str) -> None:
    assert shared.request("GET", "/", headers={"host": host})[0] == 200


def test_responses_do_not_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol."""
    with listen("127.0.0.1", 0, "127.0.0.1:0") as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_large_body_is_refused(shared: RunningDashboard) -> None:
    assert shared.request("POST", "/api/command", b"x" * 100_000, shared.origin)[0] == 413
