"""``threads = "auto"``: measured by the time that passes, and only on cores that nothing needs."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.vision.inference import Network, open_network, saved_choice, saved_threads
from edge.vision.inference import choice as choices
from edge.vision.inference.choice import Took, best_threads
from edge.vision.inference.threads import ONE_THREAD, MostThreads, Threads

FOUR = MostThreads(detect=1, classify=4)  # the networks here translate


@pytest.mark.parametrize(
    ("cores", "detect", "classify"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 2, 2), (6, 3, 2), (8, 4, 3), (64, 4, 4)],
)
def test_each_stage_gets_a_core_before_a_network_gets_two(
    cores: int, detect: int, classify: int
) -> None:
    most = MostThreads.of_cores(cores)
    assert most == (detect, classify)
    assert most.detect + most.classify + 1 <= max(3, cores)
    assert most.of_task("face-detection") == detect
    for task in ("facial-expression", "spectrum-translation", "face-mesh"):
        assert most.of_task(task) == classify


@pytest.mark.parametrize(
    ("took", "best"),
    [
        ({1: Took(8, 8)}, 1),
        ({1: Took(8, 8), 2: Took(4.5, 8.5)}, 2),
        ({1: Took(8, 8), 2: Took(4.5, 8.5), 3: Took(3.2, 9), 4: Took(2.9, 9.5)}, 3),
        ({1: Took(8, 8), 2: Took(7, 8.1), 3: Took(6, 8.2)}, 3),  # each saves 12 %, both 25 %
        ({1: Took(8, 8), 2: Took(6.5, 8)}, 1),  # not worth a core
        ({1: Took(8, 8), 2: Took(4.5, 16)}, 1),  # threads that wait in a loop
        ({1: Took(8, 8), 2: Took(9, 8), 3: Took(12, 8)}, 1),  # a busy machine
    ],
)
def test_more_threads_must_save_time_and_cost_little(took: dict[int, Took], best: int) -> None:
    assert best_threads(took) == best


class FakeTimes:
    """Replaces the clocks: a run passes ``passed_ms`` of its number of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **passed_ms: float) -> None:
        self.now_ms = self.used_ms = 0.0
        self.passed_ms = {int(name[1:]): value for name, value in passed_ms.items()}
        self.runs: list[int] = []
        genuine = Network.run

        def run(network: Network, batch: Any) -> Any:
            self.runs.append(network.info.threads)
            self.now_ms += self.passed_ms[network.info.threads]
            self.used_ms += 8
            return genuine(network, batch)

        monkeypatch.setattr(Network, "run", run)
        monkeypatch.setattr(choices, "monotonic_ns", lambda: self.now_ms)
        monkeypatch.setattr(choices, "elapsed_ms", lambda since_ms: self.now_ms - since_ms)
        monkeypatch.setattr(choices, "processor_ns", lambda: self.used_ms * 1e6)


@pytest.fixture
def folder(make_folder: Callable[..., Path], tiny: bytes) -> Path:
    return make_folder({"a.onnx": tiny})


def threads_of(
    folder: Path, state: Path, most: MostThreads = FOUR, threads: Threads = "auto", **options: Any
) -> int:
    network = open_network(
        folder,
        task="spectrum-translation",
        threads=threads,
        most_threads=most,
        state_dir=state,
        **options,
    )
    return network.info.threads


def test_the_fastest_number_is_chosen_once_and_saved(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = FakeTimes(monkeypatch, t1=8, t2=5, t3=3, t4=2.9)
    assert saved_threads(folder, FOUR, state_dir=tmp_path) is None
    assert threads_of(folder, tmp_path) == 3
    assert times.runs == [1, 2, 3, 4] * 16
    assert threads_of(folder, tmp_path) == 3
    assert threads_of(folder, tmp_path, artifact="a.onnx") == 3
    assert len(times.runs) == 64, "not measured again"
    known = saved_threads(folder, FOUR, state_dir=tmp_path)
    assert known is not None
    assert known.chosen == "3"
    assert known.run_ms == pytest.approx({"1": 8, "2": 5, "3": 3, "4": 2.9})
    assert threads_of(folder, tmp_path, MostThreads(1, 2)) == 2, "another limit is measured"
    assert len(times.runs) == 96


def test_nothing_is_measured_where_there_is_nothing_to_choose(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = FakeTimes(monkeypatch)
    assert threads_of(folder, tmp_path, ONE_THREAD) == 1
    assert threads_of(folder, tmp_path, MostThreads(detect=4, classify=1)) == 1
    assert threads_of(folder, tmp_path, threads=2) == 2
    assert times.runs == []
    assert list(tmp_path.glob("*.json")) == []


def test_a_saved_number_that_may_not_be_chosen_is_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = FakeTimes(monkeypatch, t1=8, t2=4, t3=4, t4=4)
    assert threads_of(folder, tmp_path) == 2
    (file,) = tmp_path.glob("*.json")
    for wrong in ("9", "0", "two", 2, None, ["2"]):
        data = json.loads(file.read_text())
        for entry in data.values():
            entry["chosen"] = wrong
        file.write_text(json.dumps(data))
        times.runs.clear()
        assert threads_of(folder, tmp_path) == 2
        assert len(times.runs) == 64


def test_the_artifact_does_not_depend_on_the_threads(
    make_folder: Callable[..., Path],
    tiny: bytes,
    onnx_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a recording and its live run would be predicted by different artifacts."""
    folder = make_folder({"a.onnx": tiny, "b.onnx": onnx_of((1, 1, 4, 6), op="Abs")})
    measured: list[list[str | int]] = []

    def measure(runs: dict[str | int, Callable[[], object]]) -> dict[str | int, Took]:
        measured.append(list(runs))
        return {name: Took(1.0, 2.0 if name == "a.onnx" else 1.0) for name in runs}

    monkeypatch.setattr(choices, "measure", measure)
    for most in (ONE_THREAD, FOUR):
        network = open_network(
            folder,
            task="spectrum-translation",
            threads="auto",
            most_threads=most,
            state_dir=tmp_path,
        )
        assert network.info.artifact == "b.onnx"
    assert measured == [["a.onnx", "b.onnx"], [1, 2, 3, 4]]
    known = saved_choice(folder, threads="auto", state_dir=tmp_path)
    assert known is not None
    assert known.chosen == "b.onnx"


def threads_ns() -> dict[str, int]:
    """Return the processor time of each thread of this process, nanoseconds."""
    used = {}
    for path in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended
            used[path.name] = int((path / "schedstat").read_text().split()[0])
    return used


@pytest.mark.parametrize("artifact", ["centerface.onnx", "centerface.int8.tflite"])
def test_threads_do_not_spin_between_runs(artifact: str) -> None:
    """A thread that waits for the next frame in a loop takes a core from all other programs."""
    before = threads_ns()
    network = open_network(
        "centerface-320x192", task="face-detection", artifact=artifact, threads=3
    )
    picture = np.zeros((1, 192, 320), np.uint8)
    for _ in range(3):
        network.run(picture)
    after_run = threads_ns()
    own = after_run.keys() - before.keys()
    assert len(own) >= 2
    time.sleep(0.2)
    idle = threads_ns()
    assert sum(idle[each] - after_run[each] for each in own) < 20_000_000
