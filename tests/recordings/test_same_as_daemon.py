"""``analyse`` makes the tables that a daemon and a logger make of the same file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation.pictures import faces_in
from benchmarks.evaluation.turned_faces import FaceModel
from edge.clock import Stopwatch
from edge.config import DetectorConfig, MeshConfig
from edge.tools.export_log import run_export
from edge.vision.detect import open_detector
from edge.vision.golden import golden_picture
from edge.vision.mesh import open_mesh
from edge.vision.sources.video import DEMO_CLIP
from tests.support.analyses import analyse
from tests.support.daemons import ROOT, RunningDaemon
from tests.support.videos import make_video

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

ONE_SEAT = """
[device]
purpose = "safety"
[mesh]
enabled = true
[zones.seats.middle]
polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
participant = "P01"
"""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def logged(folder: Path, config: Path, clip: Path = DEMO_CLIP) -> Path:
    """Run a daemon and a logger on a clip; return the exported table."""
    log, out = folder / "log.sqlite", folder / "log.csv"
    ends = ["--connect", f"ipc://{folder}/live", "--service", f"ipc://{folder}/service"]
    with RunningDaemon(
        folder, "-c", str(config), "--source", str(clip), "--no-pace", "--wait-for-subscriber",
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


def test_the_same_blinks_and_closures(tmp_path):
    """The lids of the golden face are closed for 0.2 s, and then for 2.4 s, at 25 a second."""
    config, clip, out = tmp_path / "edge.toml", tmp_path / "clip.mp4", tmp_path / "out"
    config.write_text(ONE_SEAT)
    opened, closed = (np.repeat(luma[..., None], 3, axis=2) for luma in golden_lids(1.0, 0.05))
    pictures = [*[opened] * 15, *[closed] * 5, *[opened] * 10, *[closed] * 60, *[opened] * 10]
    make_video(clip, pictures, [40 * at for at in range(len(pictures))])
    assert analyse(clip, "--out", out, "-c", config)[0] == 0
    events = events_of(out / "clip/events.csv")
    assert events == events_of(logged(tmp_path, config, clip).with_name("log.events.csv"))
    of_eyes = {name: detail for name, detail in events if name.startswith(("blink", "eyes"))}
    whose = {"track": 1, "participant": "P01", "seat": "middle"}
    assert of_eyes == {
        "blink": {**whose, "duration_ms": 200, "sensor_ns": 600_000_000},
        "eyes_closed": {**whose, "closed_s": 2.0, "sensor_ns": 1_200_000_000},
        "eyes_opened": {**whose, "closed_s": 2.4, "sensor_ns": 3_600_000_000},
    }


def golden_lids(*openness: float) -> list[np.ndarray]:
    """Return the golden face with its lids drawn at shares of their height."""
    luma = golden_picture()[0]
    network = open_mesh(MeshConfig(enabled=True))
    assert network is not None
    face = max(faces_in(open_detector(DetectorConfig()), luma), key=lambda each: each.box.height)
    mesh = network.measure(luma, face, Stopwatch())
    assert mesh is not None
    model = FaceModel(luma, mesh.points)
    return [model.with_lids(share) for share in openness]


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
