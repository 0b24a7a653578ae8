"""How many threads the daemon gives its networks: measured for live pictures, one without loss."""

import json
import os
from pathlib import Path

import pytest

from tests.support.daemons import ROOT, RunningDaemon

FOUR_CORES = """
import os, sys
if "edge.worker" in sys.orig_argv:
    os.sched_getaffinity = lambda process: {0, 1, 2, 3}
"""
ARGUMENTS = (
    "--source", "demo", "--set", 'detector.artifact="centerface.onnx"',
    "--set", 'detector.region_artifact="centerface.onnx"',
    "--set", 'expression.artifact="expression.onnx"',
)  # fmt: skip


@pytest.mark.parametrize("paced", [True, False], ids=["paced", "without loss"])
def test_threads_are_measured_where_frames_come_by_themselves(tmp_path: Path, paced: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(FOUR_CORES)
    state = tmp_path / "state"
    state.mkdir()
    environment = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "STATE_DIRECTORY": str(state),
    }
    arguments = (*ARGUMENTS, *(() if paced else ("--no-pace",)), "--wait-for-subscriber")
    with RunningDaemon(tmp_path, *arguments, environment=environment) as daemon:
        started = daemon.wait_for(lambda message: message.get("event") == "worker_started")
        daemon.wait_for_frame()
        networks = {name: each["threads"] for name, each in started["detail"]["models"].items()}
        assert set(networks) == {"detector", "region_detector", "expression"}
        assert (
            f"centerface-320x192/centerface.onnx, threads {networks['detector']}" in daemon.stderr
        )
    saved = state / "artifact-choices.json"
    choices = list(json.loads(saved.read_text()).values()) if saved.exists() else []
    assert networks["expression"] == 1, "classification has one of four cores"
    if paced:
        assert [set(each["run_ms"]) for each in choices] == [{"1", "2"}] * 2
        chosen = sorted(int(each["chosen"]) for each in choices)
        assert chosen == sorted((networks["detector"], networks["region_detector"]))
    else:
        assert choices == []
        assert set(networks.values()) == {1}
