"""``analyse --scheduler``: what a worker refuses; tests/faults/test_recordings.py kills one."""

import contextlib
import os

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis import cluster as cluster_module
from edge.recordings.analysis.analyse import AnalyseOptions, run_analyse
from tests.support.analyses import analyse, make_recordings
from tests.support.ports import free_port

distributed = pytest.importorskip("distributed")


def test_a_worker_with_other_models_or_without_the_file_refuses(tmp_path, monkeypatch):
    (video,) = make_recordings(tmp_path / "in", 1).iterdir()
    texts = []

    def altered(address, jobs, on_progress, report):
        (job,) = jobs
        moved = job.encode().replace(str(video), str(video.with_name("gone.mp4")))
        other = job.encode().replace(job.models["detector"].sha256, "0" * 64)
        older = job.encode().replace('"version": "', '"version": "9.')
        for text in (moved, other, older):
            texts.append(cluster_module.run_in_child(text)["failure"])
        yield from ()

    monkeypatch.setattr("edge.recordings.analysis.analyse.run_on_cluster", altered)
    run_analyse(
        AnalyseOptions([video], tmp_path / "out", purpose="safety", scheduler="tcp://127.0.0.1:1")
    )
    host = os.uname().nodename
    assert f"gone.mp4: No such file or directory on {host}; a recording must be" in texts[0]
    assert "detector: expected centerface-320x192/" in texts[1]
    assert "install the same models on every machine" in texts[1]
    assert "install the same version on every machine" in texts[2]


def test_a_scheduler_that_does_not_answer(tmp_path):
    recordings = make_recordings(tmp_path / "in", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    code, text = analyse(recordings, "--out", tmp_path / "out", "--scheduler", address)
    assert code == 1
    assert f"--scheduler {address}: does not answer" in text
    assert "interrupted" not in text
    assert "Traceback" not in text


def test_a_cluster_without_workers_is_waited_for_with_a_line():
    said = []
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=0, **local) as cluster:
        address = cluster.scheduler_address
        assert not [*cluster_module.run_on_cluster(address, [], lambda *_: None, said.append)]
    assert said == [
        f"--scheduler {address}: has no worker yet; it waits for one: dask worker {address} on each"
        " machine"
    ]


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        *((each, True) for each in ("tcp://10.0.0.2:8786", "tls://[::1]:8786", "tcp://host.lan:1")),
        *(
            (each, False)
            for each in ("", "host", "host:8786", "tcp://host", "tcp://[::1", "tcp://:1")
        ),
        *((each, False) for each in ("http://host:8786", "tcp://host:8786/x", "tcp://host:port")),
    ],
)
def test_the_form_of_an_address(address, is_one):
    expected = (
        contextlib.nullcontext() if is_one else pytest.raises(ConfigError, match="expected tcp")
    )
    with expected:
        cluster_module.require_distributed(address)
