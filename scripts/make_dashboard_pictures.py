"""Draw the pictures of docs/dashboard.md: the page over the bundled clip, in a headless Chromium.

    python scripts/make_dashboard_pictures.py [FOLDER]

Two daemons read the clip, one with seats; session and marks are made with the page's own buttons
and keys. Needs Debian's package ``chromium``, and the extras ``dashboard`` and ``browser``; takes
two minutes.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[1] / "docs"
SIZE_MAX_BYTES = 250_000
RUN_S = 60  # so that the charts have something to show
SEATS = {
    "left": [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]],
    "right": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]],
}
# file, width, height, ratio of pixels, theme
PICTURES = (
    ("dashboard-desktop.png", 1440, 900, 1, "dark"),
    ("dashboard-light.png", 1440, 900, 1, "light"),
    ("dashboard-phone.png", 390, 844, 1.5, "dark"),
    ("dashboard-wall.png", 3840, 2160, 0.4, "dark"),
    ("dashboard-aim.png", 1440, 660, 1, "dark"),
)


def configuration(folder: Path, name: str, *, has_seats: bool) -> str:
    """Return the TOML of a daemon that reads the clip again and again."""
    lines = [
        f'device = {{name = "{name}", purpose = "research-consent"}}',
        'source = {kind = "demo", repeat = 0, rate_hz = 10}',
        f'publish = {{endpoint = "ipc://{folder}/live", service_endpoint = "ipc://{folder}/service"}}',
        f'journal = {{path = "{folder}/journal", tail = "{folder}/tail"}}',
        'metrics = {address = ""}',
        "[affect]",
        "baseline_min_s = 2.0",
    ]
    if has_seats:
        for (seat, polygon), code in zip(SEATS.items(), ("P07", "P08"), strict=True):
            lines += [f"[zones.seats.{seat}]", f"polygon = {polygon}", f'participant = "{code}"']
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command of affect-edge for a ``with`` block."""
    command = [sys.executable, "-m", "edge", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def use_buttons(page: Any) -> None:
    """Begin a session, and mark two moments."""
    page.get_by_role("button", name="Begin session").first.click()
    page.keyboard.type("P07-first")
    page.keyboard.press("Enter")
    for key, pause_s in (("1", RUN_S * 0.3), ("2", RUN_S * 0.3)):
        page.wait_for_timeout(pause_s * 1000)
        page.keyboard.press(key)
    page.wait_for_timeout(RUN_S * 400)


def main(out: Path) -> None:
    """Write the pictures into a folder."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of an extra

    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses: list[str] = []
        for name, has_seats in (("chamber-1", True), ("chamber-2", False)):
            folder = root / name
            folder.mkdir()
            (folder / "edge.toml").write_text(configuration(folder, name, has_seats=has_seats))
            stack.enter_context(running("run", "-c", str(folder / "edge.toml")))
            addresses += [
                "--connect",
                f"ipc://{folder}/live",
                "--service",
                f"ipc://{folder}/service",
            ]
        marks = ("--mark", "pressure 2.8 bar", "--mark", "mask on")
        page = stack.enter_context(
            running("dashboard", "--bind", "127.0.0.1:0", *addresses, *marks)
        )
        assert page.stderr is not None
        url = page.stderr.readline().split()[-1]
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(url)
        tab.locator(".chamber > header .state").filter(has_text="excellent").nth(1).wait_for()
        tab.wait_for_timeout(5000)
        use_buttons(tab)
        for file, width, height, ratio, scheme in PICTURES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                device_scale_factor=ratio,
                color_scheme=scheme,
            )
            shown = context.new_page()
            shown.goto(url)
            shown.get_by_label("5 min").check(force=True)
            if "aim" in file:
                shown.get_by_text("Aim the camera").first.click()
            shown.wait_for_timeout(7000)
            shown.screenshot(path=out / file)
            context.close()
            size = (out / file).stat().st_size
            print(f"{file}: {size / 1e3:.0f} kB")
            if size > SIZE_MAX_BYTES:
                print(f"{file}: more than {SIZE_MAX_BYTES / 1e3:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
