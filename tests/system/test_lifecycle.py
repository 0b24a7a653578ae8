"""The daemon through starts, losses and stops: real processes, real signals, real sockets."""

import itertools
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from edge.config import Config
from edge.hub import supervisor as supervising
from edge.hub.supervisor import Supervisor
from tests.support.daemons import PURPOSE, RunningDaemon, affect_edge

DEMO = ("--source", "demo", "--wait-for-subscriber")


def ids_and_indices(daemon: RunningDaemon) -> tuple[list[int], list[int]]:
    """Return the numbers of all numbered messages, and the frames' indices."""
    numbered = [m["seq"] for m in daemon.messages if "seq" in m]
    return numbered, [m["frame"]["index"] for m in daemon.frames]


def test_a_run_is_whole_from_the_first_message_to_the_last(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        assert daemon.run_to_end() == 0
        numbered, indices = ids_and_indices(daemon)
        assert numbered == list(range(len(numbered)))
        assert indices == list(range(300))
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert ended["messages"] == len(numbered)
        assert ended["frames"] == ended["captured"] == 300
        assert daemon.messages[0]["event"] == "epoch_started"
        assert {m["epoch"] for m in daemon.messages} == {1}
        assert "Traceback" not in daemon.stderr


def test_epochs_grow_over_restarts_of_one_journal(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with RunningDaemon(
            tmp_path, *DEMO, "--no-pace", "--set", f'journal.path="{tmp_path}/journal"',
            "--set", "expression.priors={neutral=0.7}",
        ) as daemon:  # fmt: skip
            daemon.wait_for_frame()
            (started,) = daemon.events("epoch_started")  # a status may come before it
            assert started["detail"]["priors"] == {"neutral": 0.7}
            assert daemon.stop()[0] == 0
            seen.append((started["stream"], started["epoch"]))
    assert seen[0][0] == seen[1][0]
    assert [epoch for _, epoch in seen] == [1, 2]


@pytest.mark.parametrize("paced", [True, False])
def test_frames_again_within_3_s_of_a_killed_worker(tmp_path: Path, paced: bool) -> None:
    slow = () if paced else ("--no-pace",)
    with RunningDaemon(tmp_path, *DEMO, *slow) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 20)
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        again = daemon.wait_for_frame()
        assert (again["received_ns"] - lost["received_ns"]) / 1e9 < 3.0
        assert daemon.run_to_end() == 0
        numbered, indices = ids_and_indices(daemon)
        assert numbered == list(range(len(numbered)))
        # a file is taken up where it was left, and nothing is published twice
        assert all(after > before for before, after in itertools.pairwise(indices))
        if not paced:
            assert indices == list(range(300))
        before, after = (
            {face["track"] for m in daemon.frames if keep(m) for face in m["faces"]}
            for keep in (
                lambda m: m["seq"] < lost["seq"],
                lambda m: m["seq"] > lost["seq"],
            )
        )
        assert before
        assert not before & after, "a track number was used by two workers"


def test_frames_that_no_worker_survives_are_stepped_over_and_counted(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 10)
        for _ in range(3):  # at once, before it can publish: as a deadly frame would
            os.kill(daemon.worker_pid(), signal.SIGKILL)
            daemon.wait_for(lambda m: m.get("event") == "worker_lost")
            daemon.wait_for(lambda m: m.get("event") == "worker_started")
        assert daemon.run_to_end() == 0
        before = -1
        for message in daemon.frames:
            assert message["frame"]["index"] > before
            assert message["frame"]["dropped"] == message["frame"]["index"] - before - 1
            before = message["frame"]["index"]
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert ended["frames"] + ended["dropped"] == ended["captured"] == 300


def test_a_file_that_no_worker_can_read_ends_the_run(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--source", "demo", "--set", "limits.start_s=0.05") as daemon:
        while daemon.process.poll() is None:
            daemon.receive(0.1)
        assert daemon.process.returncode == 1
        assert "workers in a row read nothing" in daemon.stderr
        assert "Traceback" not in daemon.stderr


def test_a_worker_that_waits_for_a_subscriber_is_left_alone(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, topic="affect.v1.status") as daemon:
        daemon.wait_for(lambda m: m["source_state"] == "waiting")
        worker, begun = daemon.worker_pid(), time.monotonic()
        while time.monotonic() - begun < supervising.SILENT_S + 2:
            status = daemon.wait_for(lambda m: m["kind"] == "status")
            assert (status["source_state"], status["worker_restarts"]) == ("waiting", 0)
        assert daemon.worker_pid() == worker
        assert status["last_seq"] == -1, "nothing is said before somebody listens"


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGSTOP)
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost", 10)
        assert lost["detail"]["reason"] == "silent"
        daemon.wait_for_frame()


def test_no_module_of_the_current_folder_is_run(tmp_path: Path) -> None:
    stray, folder = tmp_path / "stray", tmp_path / "run"
    stray.mkdir()
    folder.mkdir()
    for name in ("random", "cv2", "picamera2"):
        (stray / f"{name}.py").write_text(f"open('{tmp_path}/was-run', 'w')\nraise SystemExit\n")
    with RunningDaemon(folder, *DEMO, cwd=stray) as daemon:
        daemon.wait_for_frame()
        assert os.readlink(f"/proc/{daemon.worker_pid()}/cwd") == str(stray)
    assert not (tmp_path / "was-run").exists()


def test_a_worker_that_grows_too_big_is_replaced(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--set", "limits.worker_rss_mb=64") as daemon:
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "too_big"
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("state", ["at once", "starting", "waiting", "running", "hurrying",
                                   "restarting", "absent", "hung"])  # fmt: skip
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_any_state_takes_less_than_5_s(
    tmp_path: Path, state: str, number: signal.Signals
) -> None:
    arguments = {
        "waiting": ("--source", "demo", "--wait-for-subscriber"),
        "hurrying": (*DEMO, "--no-pace"),
        "absent": ("--source", "rtsp://127.0.0.1:9/none", *PURPOSE),
    }.get(state, ("--source", "demo"))
    topic = "affect.v1.status" if state == "waiting" else "affect.v1."
    with RunningDaemon(tmp_path, *arguments, topic=topic) as daemon:
        match state:
            case "at once":  # the signal may come before anything is set up
                while b"edge" not in Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes():
                    time.sleep(0.001)
                wait_until_imported(daemon)
            case "starting":
                daemon.wait_for(lambda m: m["kind"] == "status")
            case "waiting":
                daemon.wait_for(lambda m: m["source_state"] == "waiting")
            case "running" | "hurrying":
                daemon.wait_for_frame()
            case "restarting":
                daemon.wait_for_frame()
                os.kill(daemon.worker_pid(), signal.SIGKILL)
                daemon.wait_for(lambda m: m.get("event") == "worker_lost")
            case "absent":
                daemon.wait_for(lambda m: m.get("event") == "source_state")
            case "hung":
                daemon.wait_for_frame()
                os.kill(daemon.worker_pid(), signal.SIGSTOP)
        code, took_s = daemon.stop(number)
        assert code == 0, daemon.stderr
        assert took_s < 5.0
        assert "Traceback" not in daemon.stderr


def test_a_stop_that_meets_the_end_is_a_clean_end(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        daemon.wait_for(lambda m: m.get("event") == "epoch_ended")
        while daemon.process.poll() is None:  # whichever moment of the end each one meets
            daemon.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert daemon.process.returncode in (0, 1)
        if daemon.process.returncode == 1:  # a second signal insists while the sockets drain
            assert "second signal" in daemon.stderr
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        daemon.wait_for(lambda m: m.get("event") == "epoch_ended")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 0


def wait_until_imported(daemon: RunningDaemon) -> None:
    """Return once Python runs the program: before that, a signal is the interpreter's to take."""
    while True:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:\t")[2][:16], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        worker = daemon.worker_pid()
        os.kill(worker, signal.SIGSTOP)  # an ordered stop would have to wait for it
        daemon.process.send_signal(signal.SIGTERM)
        while "SIGTERM received" not in daemon.stderr:
            daemon.receive(0.01)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(2) == 1
        while Path(f"/proc/{worker}").exists():  # the worker dies with its hub
            time.sleep(0.01)


def test_the_worker_dies_with_a_killed_hub(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        worker = daemon.worker_pid()
        daemon.process.kill()
        daemon.process.wait()
        deadline = time.monotonic() + 5
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{worker}").exists()


def test_the_service_manager_is_told_in_order(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        with RunningDaemon(tmp_path, "--source", "demo", environment=environment) as daemon:
            told: list[str] = []
            while "READY=1" not in told or told.count("WATCHDOG=1") < 2:
                told += manager.recv(4096).decode().splitlines()
                if told[-1] == "READY=1":
                    ready_ns = time.monotonic_ns()
            first = daemon.wait_for_frame()
            assert first["time"]["published_ns"] < ready_ns, "ready only after the first result"
            assert daemon.stop()[0] == 0
            while told[-1] != "STOPPING=1":
                told += manager.recv(4096).decode().splitlines()
    kinds = [line.partition("=")[0] for line in told]
    assert kinds.count("READY") == kinds.count("STOPPING") == 1
    assert any("source running" in line for line in told if line.startswith("STATUS="))


def test_an_absent_camera_is_declared_and_the_daemon_is_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        source = ("--source", "rtsp://user:secret@127.0.0.1:9/none", *PURPOSE)
        with RunningDaemon(tmp_path, *source, environment=environment) as daemon:
            told = ""
            while "READY=1" not in told:
                told += manager.recv(4096).decode()
                daemon.receive(0)
            status = daemon.wait_for(
                lambda m: m["kind"] == "status" and m["source_state"] == "absent"
            )
            assert status["health"]["grade"] == "unusable"
            assert "secret" not in repr(daemon.messages) + daemon.stderr


def test_workers_that_are_lost_while_they_open_a_camera_are_one_absence(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as silent:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        silent.bind(("127.0.0.1", 0))  # connections are taken, and nothing ever answers
        silent.listen(8)
        source = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/none"
        patience = ("--set", "source.open_timeout_s=8")
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with RunningDaemon(
            tmp_path, "--source", source, *PURPOSE, *patience, environment=environment
        ) as daemon:
            for _ in range(3):
                daemon.wait_for(lambda m: m.get("event") == "worker_started")
                os.kill(daemon.worker_pid(), signal.SIGKILL)
            daemon.wait_for(lambda m: m.get("event") == "worker_started")
            daemon.wait_for(lambda m: m["kind"] == "status")
            (absent,) = daemon.events("source_state")
            assert absent["detail"]["state"] == "absent"
            assert "lost while it opened the source: died" in absent["detail"]["reason"]
            after = daemon.messages[daemon.messages.index(absent) :]
            assert {m["source_state"] for m in after if m["kind"] == "status"} == {"absent"}
            while "READY=1" not in manager.recv(4096).decode():
                pass


def test_a_process_that_cannot_be_killed_calls_for_a_reboot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Undead:
        """Stands in for a worker in state D, which no test can make: it never dies."""

        pid = 0

        def poll(self) -> None:
            return None

        def kill(self) -> None:
            return None

    watching = Supervisor(Config(), lossless=False)
    now_ns = 1_000_000_000
    monkeypatch.setattr(supervising.clock, "monotonic_ns", lambda: now_ns)
    watching._process = Undead()  # type: ignore[assignment]
    watching.lose()
    now_ns += 9_000_000_000
    assert not watching.may_start()
    assert not watching.unkillable()
    now_ns += 2_000_000_000
    assert watching.unkillable()


def test_restarts_slow_down_when_the_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Supervisor(Config(), lossless=False)
    now_ns = 0
    monkeypatch.setattr(supervising.clock, "monotonic_ns", lambda: now_ns)
    waits = []
    for _ in range(12):
        watching.lose()
        begun_ns = now_ns
        while not watching.may_start():
            now_ns += 100_000_000
        waits.append((now_ns - begun_ns) / 1e9)
    assert waits[0] <= 0.2
    assert max(waits[:10]) <= 1.1
    assert min(waits[10:]) >= 29.9


def test_workers_that_ask_to_be_renewed_are_paused_and_not_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Supervisor(Config(), lossless=False)
    now_ns = 0
    monkeypatch.setattr(supervising.clock, "monotonic_ns", lambda: now_ns)
    waits = []
    for _ in range(20):
        watching.renew()
        begun_ns = now_ns
        while not watching.may_start():
            now_ns += 100_000_000
        waits.append((now_ns - begun_ns) / 1e9)
    assert waits == pytest.approx([0.1] + [supervising.RENEW_PAUSE_S] * 19)
    assert (watching.restarts, watching.losses.within(now_ns)) == (0, 0)
    watching.lose()
    assert watching.renewals == 0, "the next worker is a new one to whoever listens"


def test_a_worker_may_be_silent_for_longer_while_it_opens_a_camera(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = 0
    monkeypatch.setattr(supervising.clock, "monotonic_ns", lambda: now_ns)
    watching = Supervisor(Config(), lossless=False)
    watching._process = object()  # type: ignore[assignment]
    watching.is_ready = True
    now_ns = int((supervising.SILENT_S + 0.1) * 1e9)
    assert watching.trouble() == "silent"
    assert watching.trouble(is_opening=True) is None
    now_ns = int((supervising.CAPTURE_STUCK_S + 0.1) * 1e9)
    assert watching.trouble(is_opening=True) == "silent"


def test_two_daemons_on_one_endpoint(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--set", f'journal.path="{tmp_path}/j"') as first:
        first.wait_for_frame()
        second = affect_edge("run", "--source", "demo", "--set", f'journal.path="{tmp_path}/j"')
        assert second.returncode == 78
        assert second.stderr.count("\n") == 1
        assert "in use by another daemon" in second.stderr
        first.wait_for_frame()
