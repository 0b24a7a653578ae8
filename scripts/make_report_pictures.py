"""Draw the pictures of docs/report.md from the bundled clip: plots, and the top of a report.

    python scripts/make_report_pictures.py

A daemon reads the clip, a logger writes the log, and the first two faces get codes. The page is
shown by Chromium (Debian: package chromium).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from edge.client.logs import participant_edits
from edge.client.logs.participant_edits import Edit
from edge.client.logs.sqlite_changes import open_log
from edge.client.logs.sqlite_reader import SqliteReader
from edge.results.marks import Mark
from edge.results.plots import write_plots
from edge.results.report import render
from edge.results.tables import read_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZE_MAX_BYTES = 250_000
MARKS = (Mark(0.0, "first face"), Mark(2.5, "second face"), Mark(8.0, "third face"))
PAGE_PX = "860,1080"


def record(log: Path) -> None:
    """Write the log of the clip, with codes for the first two faces."""
    publish, service = (f"ipc://{log.parent}/{name}" for name in ("publish", "service"))
    edge = [sys.executable, "-m", "edge"]
    daemon = [*edge, "run", "--source", "demo", "--no-pace", "--wait-for-subscriber"]
    for key, value in (
        ("publish.endpoint", publish),
        ("publish.service_endpoint", service),
        ("metrics.address", ""),
    ):
        daemon += ["--set", f'{key}="{value}"']
    with subprocess.Popen(daemon):
        subprocess.run(
            [*edge, "log", "--connect", publish, "--service", service, "--out", log, "--until-end"],
            check=True,
        )
    with SqliteReader(log) as reader:
        first = next(reader.events())
    with open_log(log) as database:
        for track, code in ((1, "P01"), (2, "P02")):
            edit = Edit(code, track=(first.stream, first.epoch, track))
            participant_edits.add(database, edit)


def main() -> None:
    """Write ``docs/report-*.png``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record(folder / "clip.sqlite")
        table = read_table(folder / "clip.sqlite")
        write_plots(table, folder, MARKS)
        page = folder / "page.html"
        page.write_text(render(table, marks=MARKS), encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={PAGE_PX}"]
        subprocess.run(
            [*command, f"--screenshot={folder / 'page.png'}", page.as_uri()],
            check=True,
            capture_output=True,
        )
        for each in ("timeline", "page"):
            content = (folder / f"{each}.png").read_bytes()
            if len(content) > SIZE_MAX_BYTES:
                sys.exit(f"{each}: {len(content)} bytes; expected {SIZE_MAX_BYTES} at most")
            (DOCS / f"report-{each}.png").write_bytes(content)
            print(f"docs/report-{each}.png: {len(content)} bytes")


if __name__ == "__main__":
    main()
