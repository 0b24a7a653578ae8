"""The operator's page of twenty real daemons: every chamber shows its state, also when one dies.

``DAEMONS`` sets how many, ``PICTURES`` a folder for screenshots of the page, if Chromium is there.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.test_dashboard import cpu_s
from tests.support.daemons import PURPOSE, RunningDaemon, resident_mb
from tests.support.dashboards import RunningDashboard, Viewer

pytestmark = [pytest.mark.stage, pytest.mark.timeout(600)]

DAEMONS = int(os.environ.get("DAEMONS", "20"))
SECONDS = float(os.environ.get("SECONDS", "60"))
CPU_SHARE_MAX = 0.25
MEMORY_MB_MAX = 150
NAMES = {f"chamber-{number}" for number in range(1, DAEMONS + 1)}
SIZES = {"phone": (390, 844), "wall": (1920, 1080)}


def daemon(folder: Path, name: str) -> RunningDaemon:
    folder.mkdir(exist_ok=True)
    # twice a second: two cores carry the networks of all
    rate = ("--set", "source.rate_hz=2", "--set", "source.repeat=0")
    return RunningDaemon(
        folder, "--source", "demo", *rate, *PURPOSE, "--set", f'device.name="{name}"'
    )


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningDaemon]]:
    folder = tmp_path_factory.mktemp("f")
    with ExitStack() as stack:
        found = {}
        for name in sorted(NAMES):
            found[name] = stack.enter_context(daemon(folder / name, name))
            found[name].wait_for_frame(120)  # one after the other loads its networks
        yield found


def look(page: RunningDashboard, dead: str) -> None:
    """Look at the page as a phone and a wall show it, if Chromium is there."""
    api, program = pytest.importorskip("playwright.sync_api"), shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            tab = browser.new_page(viewport={"width": width, "height": height})
            tab.goto(page.url)
            tile = tab.locator("#overview a").filter(has_text=re.compile(f"^{dead}no connection"))
            tile.wait_for()
            names = tab.locator("#overview strong").all_text_contents()
            assert names == sorted(NAMES, key=lambda each: int(each.rpartition("-")[2]))
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            last = tab.locator("#overview a").last.bounding_box()
            assert name == "phone" or last["y"] + last["height"] <= height / 2, "at a glance"
            assert tab.locator("main .chart").first.is_hidden()
            tab.locator("#overview a").first.click()
            assert tab.locator("main .chart").first.is_visible() or not tab.locator(".card").count()
            if "PICTURES" in os.environ:
                tab.screenshot(path=Path(os.environ["PICTURES"], f"{name}.png"))
            tab.close()
        browser.close()


def test_twenty_daemons_on_one_page(tmp_path: Path, daemons: dict[str, RunningDaemon]) -> None:
    addresses = [
        word for each in daemons.values()
        for word in ("--connect", each.endpoint, "--service", each.service)
    ]  # fmt: skip
    with RunningDashboard(tmp_path, *addresses) as page, Viewer(page.port) as viewer:

        def states() -> dict[str, tuple[str, bool, bool]]:
            return {
                each["device"]: (name, each["connected"], "status" in each and each["can_ask"])
                for name, each in viewer.chambers.items()
            }

        viewer.wait_for(
            lambda _: states().keys() == NAMES and all(all(each) for each in states().values()), 60
        )
        named = {device: name for device, (name, *_) in states().items()}
        begun, used_s, count = time.monotonic(), cpu_s(page.process.pid), 0
        for _ in viewer.updates():
            count += 1
            assert {device: name for device, (name, *_) in states().items()} == named
            assert all(connected for _, connected, _ in states().values())
            if time.monotonic() - begun > SECONDS:
                break
        elapsed_s = time.monotonic() - begun
        share = (cpu_s(page.process.pid) - used_s) / elapsed_s
        memory_mb = resident_mb(page.process.pid)
        print(
            f"{DAEMONS} daemons: {share:.1%} of a core, {memory_mb:.0f} MB,"
            f" {count / elapsed_s:.1f} updates/s"
        )
        assert share <= CPU_SHARE_MAX
        assert memory_mb <= MEMORY_MB_MAX

        dead = "chamber-7" if "chamber-7" in NAMES else min(NAMES)
        killed = time.monotonic()
        daemons[dead].process.kill()
        viewer.wait_for(lambda _: not states()[dead][1], 15)
        print(f"a killed daemon is shown after {time.monotonic() - killed:.1f} s")
        assert {device for device, (_, connected, _) in states().items() if not connected} == {dead}
        with daemon(daemons[dead].stderr_path.parent, dead) as again:
            again.wait_for_frame(60)
            viewer.wait_for(lambda _: states()[dead][1], 30)
            assert {device: name for device, (name, *_) in states().items()} == named
        assert page.stderr.count("\n") < 5, page.stderr
        look(page, dead)
