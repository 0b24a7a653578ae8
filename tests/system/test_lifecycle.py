"""Starts, lost workers and stops of the daemon: real processes, signals and sockets."""

import contextlib
import itertools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.client.ask import ask
from edge.config import Config
from edge.hub import supervisor as supervisor_module
from edge.hub.supervisor import Supervisor
from edge.protocol.requests import FetchRequest
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon, affect_edge
from tests.support.hooks import patient_hub
from tests.support.terminals import Terminal
from tests.support.waiting import HANG_S, QuietTime, wait_until

DEMO = ("--source", "demo", "--wait-for-subscriber")
LIVE = (*DEMO, "--set", "source.repeat=0")
"""It goes on until it is stopped, however long a test takes."""


def numbers_and_indices(daemon: RunningDaemon) -> tuple[list[int], list[int]]:
    """Return ``seq`` of all numbered messages, and the indices of the frames."""
    numbered = [m["seq"] for m in daemon.messages if "seq" in m]
    return numbered, [m["frame"]["index"] for m in daemon.frames]


def test_a_run_has_every_message_from_the_first_to_the_last(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        assert daemon.run_to_end() == 0
        numbered, indices = numbers_and_indices(daemon)
        assert numbered == list(range(len(numbered)))
        assert indices == list(range(300))
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert ended["messages"] == len(numbered)
        assert ended["frames"] == ended["captured"] == 300
        assert daemon.messages[0]["event"] == "epoch_started"
        assert {m["epoch"] for m in daemon.messages} == {1}
        assert "Traceback" not in daemon.stderr


def test_each_restart_with_one_journal_path_raises_the_epoch(tmp_path: Path) -> None:
    starts = []
    for _ in range(2):
        with RunningDaemon(
            tmp_path, *DEMO, "--no-pace", "--set", f'journal.path="{tmp_path}/journal"',
            "--set", "expression.priors={neutral=0.7}",
        ) as daemon:  # fmt: skip
            daemon.wait_for_frame()
            (started,) = daemon.events("epoch_started")  # a status may come before it
            assert started["detail"]["priors"] == {"neutral": 0.7}
            assert daemon.stop()[0] == 0
            starts.append((started["stream"], started["epoch"]))
    assert starts[0][0] == starts[1][0]
    assert [epoch for _, epoch in starts] == [1, 2]


@pytest.mark.parametrize("paced", [True, False])
def test_frames_resume_within_3_s_after_a_worker_is_killed(tmp_path: Path, paced: bool) -> None:
    slow = () if paced else ("--no-pace",)
    with RunningDaemon(tmp_path, *DEMO, *slow) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 20)
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        lost_at = QuietTime()
        daemon.wait_for_frame()
        assert lost_at.elapsed_s < 3.0
        assert daemon.run_to_end() == 0
        numbered, indices = numbers_and_indices(daemon)
        assert numbered == list(range(len(numbered)))
        # a file is resumed where it was left, and no frame is published twice
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


def test_frames_that_crash_every_worker_are_skipped_and_counted(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 10)
        for _ in range(3):  # at once, before it can publish, like a frame that crashes it
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


CRASH_ONCE = """
import os, signal, sys
if "edge.worker" in sys.orig_argv and not os.path.exists({marker!r}):
    open({marker!r}, "w").close()
    from edge.vision.inference.network import Network
    def run(self, batch):
        os.kill(os.getpid(), signal.SIGILL)
    Network.run = run
"""


def test_a_worker_whose_first_inference_crashes_costs_no_frame(tmp_path: Path) -> None:
    """It never saw a frame of the file, so none is skipped as if it had crashed the worker."""
    (tmp_path / "sitecustomize.py").write_text(CRASH_ONCE.format(marker=str(tmp_path / "crashed")))
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with RunningDaemon(tmp_path, *DEMO, "--no-pace", environment=path) as daemon:
        assert daemon.run_to_end() == 0, daemon.stderr
        assert len(daemon.events("worker_lost")) == 1
        assert [m["frame"]["index"] for m in daemon.frames] == list(range(300))
        assert "lost: died, while it loaded the networks" in daemon.stderr


def test_a_file_of_which_no_worker_processes_a_frame_ends_the_run(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--source", "demo", "--set", "limits.start_s=0.05") as daemon:
        while daemon.process.poll() is None:
            daemon.receive(0.1)
        assert daemon.process.returncode == 1
        assert "workers in a row processed no frame" in daemon.stderr
        assert "Traceback" not in daemon.stderr


def test_a_worker_that_waits_for_a_subscriber_is_not_replaced(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, topic="affect.v1.status") as daemon:
        daemon.wait_for(lambda m: m["source_state"] == "waiting")
        worker, start = daemon.worker_pid(), time.monotonic()
        while time.monotonic() - start < supervisor_module.SILENT_S + 2:
            status = daemon.wait_for(lambda m: m["kind"] == "status")
            assert (status["source_state"], status["worker_restarts"]) == ("waiting", 0)
        assert daemon.worker_pid() == worker
        assert status["last_seq"] == -1, "no numbered message before the first subscriber"


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *LIVE) as daemon:
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGSTOP)
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "silent"
        daemon.wait_for_frame()


def test_no_module_in_the_current_folder_is_imported(tmp_path: Path) -> None:
    other, folder = tmp_path / "other", tmp_path / "run"
    other.mkdir()
    folder.mkdir()
    for name in ("random", "cv2", "picamera2"):
        (other / f"{name}.py").write_text(f"open('{tmp_path}/was-run', 'w')\nraise SystemExit\n")
    with RunningDaemon(folder, *LIVE, cwd=other) as daemon:
        daemon.wait_for_frame()
        assert os.readlink(f"/proc/{daemon.worker_pid()}/cwd") == str(other)
    assert not (tmp_path / "was-run").exists()


def test_a_worker_that_grows_too_big_is_replaced(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *LIVE, "--set", "limits.worker_rss_mb=64") as daemon:
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "too_big"
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("state", ["at once", "starting", "waiting", "running", "lossless",
                                   "restarting", "absent", "hung"])  # fmt: skip
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_in_any_state_takes_less_than_5_s(
    tmp_path: Path, state: str, number: signal.Signals
) -> None:
    arguments = {
        "waiting": DEMO,
        "lossless": (*LIVE, "--no-pace"),
        "absent": ("--source", "rtsp://127.0.0.1:9/none", *PURPOSE),
    }.get(state, ("--source", "demo", "--set", "source.repeat=0"))
    topic = "affect.v1.status" if state == "waiting" else "affect.v1."
    with contextlib.closing(Terminal()) as terminal, RunningDaemon(
        tmp_path, *arguments, topic=topic, python=(*terminal.prefix, sys.executable)
    ) as daemon:  # fmt: skip
        match state:
            case "at once":  # the signal may come before anything is set up
                while b"edge" not in Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes():
                    time.sleep(0.001)
                wait_for_signal_handlers(daemon)
            case "starting":
                daemon.wait_for(lambda m: m["kind"] == "status")
            case "waiting":
                daemon.wait_for(lambda m: m["source_state"] == "waiting")
            case "running" | "lossless":
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
        asked = QuietTime()
        assert daemon.stop(number)[0] == 0, daemon.stderr
        assert asked.elapsed_s < 5.0
        assert "Traceback" not in daemon.stderr


def test_a_stop_at_the_end_of_the_source_exits_cleanly(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        daemon.wait_for(lambda m: m.get("event") == "epoch_ended")
        while daemon.process.poll() is None:  # at several moments of the end
            daemon.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert daemon.process.returncode in (0, 1)
        if daemon.process.returncode == 1:  # a second signal came while the sockets drained
            assert "second signal" in daemon.stderr
    with RunningDaemon(tmp_path, *DEMO, "--no-pace") as daemon:
        daemon.wait_for(lambda m: m.get("event") == "epoch_ended")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(HANG_S) == 0


def wait_for_signal_handlers(daemon: RunningDaemon) -> None:
    """Return once the daemon handles SIGTERM; before, the signal ends the process."""
    while True:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:\t")[2][:16], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


def test_a_signal_after_a_second_ends_at_once(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *LIVE, environment=patient_hub(tmp_path)) as daemon:
        daemon.wait_for_frame()
        worker = daemon.worker_pid()
        os.kill(worker, signal.SIGSTOP)  # a normal stop would have to wait for it
        daemon.process.send_signal(signal.SIGTERM)
        while "SIGTERM received" not in daemon.stderr:
            daemon.receive(0.01)
        first = time.monotonic()
        while time.monotonic() - first < 1.1:
            daemon.receive(0.01)
        assert daemon.process.poll() is None
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(HANG_S) == 1
        assert "second signal" in daemon.stderr
        wait_until(lambda: not Path(f"/proc/{worker}").exists())  # it ends with the hub


def test_the_worker_ends_when_the_hub_is_killed(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *LIVE) as daemon:
        daemon.wait_for_frame()
        worker = daemon.worker_pid()
        daemon.process.kill()
        daemon.process.wait()
        wait_until(lambda: not Path(f"/proc/{worker}").exists())


def test_the_service_manager_gets_ready_watchdog_and_stopping_in_order(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        endless = ("--source", "demo", "--set", "source.repeat=0")
        with RunningDaemon(tmp_path, *endless, environment=environment) as daemon:
            lines: list[str] = []
            missing = {"READY", "source running"}  # a status in the second after it
            while missing or lines.count("WATCHDOG=1") < 2:
                lines += manager.recv(4096).decode().splitlines()
                if lines[-1] == "READY=1":
                    ready_ns = time.monotonic_ns()
                missing = {each for each in missing if each not in "\n".join(lines)}
            daemon.wait_for_frame()
            # as stored: a subscriber that is late receives a later one
            stored = ask(daemon.service, FetchRequest())["messages"]
            first = next(each for each in stored if each["kind"] == "frame")
            assert first["time"]["published_ns"] < ready_ns, "ready only after the first result"
            assert daemon.stop()[0] == 0
            while lines[-1] != "STOPPING=1":
                lines += manager.recv(4096).decode().splitlines()
    kinds = [line.partition("=")[0] for line in lines]
    assert kinds.count("READY") == kinds.count("STOPPING") == 1
    steps = kinds[: kinds.index("READY")].count("EXTEND_TIMEOUT_USEC")
    assert steps > 4, "its process starts, imports modules, loads networks, imports the source's"


def test_a_daemon_whose_workers_die_before_a_result_is_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        arguments = ("--source", "demo", "--set", "limits.start_s=0.05")
        with RunningDaemon(tmp_path, *arguments, environment=environment):
            received = ""
            while "READY=1" not in received:
                received += manager.recv(4096).decode()


def test_the_daemon_is_ready_with_an_absent_camera(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        source = ("--source", "rtsp://user:pa55word@127.0.0.1:9/none", *PURPOSE)
        with RunningDaemon(tmp_path, *source, environment=environment) as daemon:
            sent = ""
            while "READY=1" not in sent:
                sent += manager.recv(4096).decode()
                daemon.receive(0)
            status = daemon.wait_for(
                lambda m: m["kind"] == "status" and m["source_state"] == "absent"
            )
            assert status["health"]["grade"] == "unusable"
            assert "pa55word" not in repr(daemon.messages) + daemon.stderr


def test_several_workers_lost_while_opening_a_camera_are_one_absence(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as silent:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        silent.bind(("127.0.0.1", 0))  # accepts connections and never answers
        silent.listen(8)
        source = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/none"
        timeout = ("--set", "source.open_timeout_s=8")
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with RunningDaemon(
            tmp_path, "--source", source, *PURPOSE, *timeout, environment=environment
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


def test_a_worker_that_does_not_exit_after_sigkill_is_unkillable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unkillable:
        """A fake of a process in state D, which a test cannot create: it never exits."""

        pid = 0

        def poll(self) -> None:
            return None

        def kill(self) -> None:
            return None

    supervisor = Supervisor(Config(), lossless=False)
    now_ns = 1_000_000_000
    monkeypatch.setattr(supervisor_module.clock, "monotonic_ns", lambda: now_ns)
    supervisor._process = Unkillable()  # type: ignore[assignment]
    supervisor.lose()
    now_ns += 9_000_000_000
    assert not supervisor.may_start()
    assert not supervisor.is_unkillable()
    now_ns += 2_000_000_000
    assert supervisor.is_unkillable()


def start_delays_s(
    monkeypatch: pytest.MonkeyPatch, end_worker: Callable[[Supervisor], None], count: int
) -> tuple[Supervisor, list[float]]:
    """End ``count`` workers in a row on a simulated clock; return the delay after each, s."""
    supervisor = Supervisor(Config(), lossless=False)
    now_ns = 0
    monkeypatch.setattr(supervisor_module.clock, "monotonic_ns", lambda: now_ns)
    delays_s = []
    for _ in range(count):
        end_worker(supervisor)
        end_ns = now_ns
        while not supervisor.may_start():
            now_ns += 100_000_000
        delays_s.append((now_ns - end_ns) / 1e9)
    return supervisor, delays_s


def test_restarts_are_delayed_longer_after_many_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    _, delays_s = start_delays_s(monkeypatch, Supervisor.lose, 12)
    assert delays_s[0] <= 0.2
    assert max(delays_s[:10]) <= 1.1
    assert min(delays_s[10:]) >= 29.9


def test_renewed_workers_are_delayed_and_not_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor, delays_s = start_delays_s(monkeypatch, Supervisor.renew, 20)
    assert delays_s == pytest.approx([0.1] + [supervisor_module.RENEW_DELAY_S] * 19)
    now_ns = supervisor_module.clock.monotonic_ns()
    assert (supervisor.restarts, supervisor.losses.within(now_ns)) == (0, 0)
    supervisor.lose()
    assert supervisor.renewals == 0, "the next worker_started event is published again"


def test_a_second_daemon_with_the_same_journal_path_is_refused(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *LIVE, "--set", f'journal.path="{tmp_path}/j"') as first:
        first.wait_for_frame()
        second = affect_edge("run", "--source", "demo", "--set", f'journal.path="{tmp_path}/j"')
        assert second.returncode == 78
        assert second.stderr.count("\n") == 1
        assert "in use by another daemon" in second.stderr
        first.wait_for_frame()
