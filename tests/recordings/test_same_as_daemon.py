"""``analyse`` makes the tables that a daemon and a logger make of the same file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.tools.export_log import run_export
from edge.vision.sources.video import DEMO_CLIP
from tests.support.analyses import analyse
from tests.support.daemons import ROOT, RunningDaemon

UNKNOWN = {
    "unix_ns": "-1", "published_ns": "-1", "max_error_us": "-1", "synchronized": "false",
    "capture_ms": "", "detect_ms": "", "track_ms": "", "translate_ms": "", "classify_ms": "",
    "mesh_ms": "", "total_ms": "",
}  # fmt: skip
"""What measures the run, in the tables of ``analyse``; ``unix_ns`` as the clip has no date."""

OWN = {"stream", "epoch", "seq", *UNKNOWN}
SEATS = """
[device]
purpose = "safety"
[mesh]
enabled = true
[zones.seats.left]
polygon = [[0.0, 0.0], [0.6, 0.0], [0.6, 1.0], [0.0, 1.0]]
participant = "P01"
[zones.seats.right]
polygon = [[0.6, 0.0], [1.0, 0.0], [1.0, 1.0], [0.6, 1.0]]
participant = "P02"
"""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def logged(folder: Path, config: Path) -> Path:
    """Run a daemon and a logger on the clip; return the exported table."""
    log, out = folder / "log.sqlite", folder / "log.csv"
    ends = ["--connect", f"ipc://{folder}/live", "--service", f"ipc://{folder}/service"]
    with RunningDaemon(
        folder, "-c", str(config), "--source", str(DEMO_CLIP), "--no-pace", "--wait-for-subscriber",
        "--set", "publish.drain_s=20",
    ) as daemon:  # fmt: skip
        logger = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge", "log", "--out", str(log), "--until-end", *ends],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert daemon.run_to_end(110) == 0, daemon.stderr
        assert logger.wait(60) == 0
    run_export(log, out)
    return out


@pytest.mark.parametrize(
    "sections", ['[device]\npurpose = "safety"\n', SEATS], ids=["", "seats and mesh"]
)
def test_the_same_rows_and_events(sections, tmp_path):
    config = tmp_path / "edge.toml"
    config.write_text(sections)
    out = tmp_path / "out"
    assert analyse(DEMO_CLIP, "--out", out, "-c", config)[0] == 0
    by_logger = rows_of(logged(tmp_path, config))
    by_analyse = rows_of(out / "demo/frames.csv")
    assert len(by_logger) == len(by_analyse) >= 300
    for one, other in zip(by_logger, by_analyse, strict=True):
        assert list(one) == list(other)
        assert {name: other[name] for name in UNKNOWN} == UNKNOWN
        assert {k: v for k, v in one.items() if k not in OWN} == {
            k: v for k, v in other.items() if k not in OWN
        }
    if "seats" in sections:
        assert {row["participant"] for row in by_analyse} >= {"P01", "P02"}
    assert any(row["mesh_yaw"] for row in by_analyse) == ("mesh" in sections)
    events = events_of(tmp_path / "log.events.csv")
    assert events_of(out / "demo/events.csv") == events
    assert any(name == "participant_track_returned" for name, _ in events) == ("seats" in sections)


def events_of(path: Path) -> list[tuple[str, dict[str, object]]]:
    """Return the events in their order, without what only a daemon has."""
    daemon_only = {
        "epoch_started": {"boot_id", "board", "config_sha256", "config", "versions", "previous"},
        "worker_started": {"memory_locked"},
        "epoch_ended": {"messages"},
        "participant_track_returned": {"away_s"},
    }
    found = []
    for row in rows_of(path):
        detail = json.loads(row["detail"])
        for name in daemon_only.get(row["event"], ()):
            detail.pop(name)
        found.append((row["event"], detail))
    return sorted(found, key=str)
