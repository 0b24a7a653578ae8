"""A daemon with keys, its commands, and what happens when a key is added or revoked."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import zmq

from edge.access.keys import read_secret
from edge.client.keys import apply_client_keys
from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.keys import KeyFolder
from tests.support.ports import free_port
from tests.support.terminals import WITHOUT_TERMINAL
from tests.support.waiting import HANG_S, QuietTime, wait_until

AS_A_SERVICE = (*WITHOUT_TERMINAL, sys.executable)
DEMO = ("--source", "demo", "--set", "source.repeat=0")


def run(*settings: str) -> "subprocess.CompletedProcess[str]":
    return affect_edge(
        "run", *DEMO, *(part for each in settings for part in ("--set", each)),
        environment={"AFFECT_EDGE__METRICS__ADDRESS": ""},
    )  # fmt: skip


def test_commands_use_keys(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", "logger")
    allowed, unknown = folder.options("logger"), folder.options("stranger")
    with RunningDaemon(tmp_path, *DEMO, *folder.settings(), keys=folder.keys("logger")) as daemon:
        daemon.wait_for_frame()
        service, live = ("--service", daemon.service), ("--connect", daemon.endpoint)
        assert affect_edge("mark", "here", *service, *allowed).returncode == 0
        assert affect_edge("participant", "list", *service, *allowed).returncode == 0
        seen = affect_edge("tail", *live, "--limit", "1", *allowed)
        assert (seen.returncode, seen.stderr) == (0, "")
        for keys, words in (
            ((), "name them with --secret-key and --server-key"),
            (unknown, "the daemon refuses this client's key ("),
        ):
            refused = affect_edge("mark", "here", *service, *keys)
            assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
            assert words in refused.stderr
        assert daemon.stop()[0] == 0
    assert "keys: own key " in daemon.stderr
    assert "; 1 allowed: logger" in daemon.stderr


def test_a_revoked_client_is_cut_within_2_s_and_the_others_lose_nothing(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", "kept", "revoked")
    port = free_port()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with RunningDaemon(
        tmp_path, *DEMO, *folder.settings(), "--set", f'metrics.address="127.0.0.1:{port}"',
        keys=folder.keys("kept"), python=AS_A_SERVICE, metrics=True,
    ) as daemon:  # fmt: skip
        revoked = context.socket(zmq.SUB)
        revoked.setsockopt(zmq.SUBSCRIBE, b"")
        revoked.setsockopt(zmq.RECONNECT_IVL, 20)
        apply_client_keys(revoked, folder.keys("revoked"))
        disconnected = revoked.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        revoked.connect(daemon.endpoint)
        assert revoked.poll(round(HANG_S * 1e3))
        daemon.wait_for_frame()

        def metric(name: str) -> float:
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S)
            with page as answer:
                lines = answer.read().decode().splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(name))

        bad = folder.allowed / "bad.key"
        bad.write_text("not a key\n")
        folder.revoke("revoked")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: metric("affect_edge_auth_reload_failed") == 1)
        assert not disconnected.poll(0)
        bad.unlink()
        revoked_at = QuietTime()
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: disconnected.poll(0))
        assert revoked_at.elapsed_s < 2
        wait_until(lambda: metric('affect_edge_auth_rejected_total{why="unknown_key"}') > 0)
        assert metric("affect_edge_auth_reload_failed") == 0
        while revoked.poll(0):
            revoked.recv()
        for _ in range(20):
            daemon.wait_for_frame()
        assert not revoked.poll(0)
        numbers = [m["seq"] for m in daemon.messages if "seq" in m]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert "keys not reloaded, the old list stays: security.allowed_keys" in daemon.stderr
        assert "0 added, 1 removed, 1 connections cut" in daemon.stderr
        assert daemon.stop()[0] == 0
    revoked.disable_monitor()
    context.destroy(linger=0)
    disconnected.close()


def test_a_service_without_keys_survives_a_reload(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, python=AS_A_SERVICE) as daemon:
        daemon.wait_for_frame()
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nothing to reload" in daemon.stderr)
        daemon.wait_for_frame()
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("readable", "device.key_secret: other users may read or change it (mode 0644)"),
        ("mismatch", "device.key in the same folder is the public key of another pair"),
        ("empty", "no key in it, so that nobody could connect"),
        ("gone", "allowed: No such file or directory; expected a folder"),
        ("malformed", "page.key: not a key file: line 1 is malformed"),
        ("public", "logger.key: holds no secret key"),
    ],
)
def test_bad_keys_are_refused_at_the_start(tmp_path: Path, mistake: str, words: str) -> None:
    folder = KeyFolder(tmp_path, "logger")
    settings = list(folder.settings()[1::2])
    match mistake:
        case "readable":
            folder.secret.chmod(0o644)
        case "mismatch":
            folder.public.write_bytes((folder.allowed / "logger.key").read_bytes())
        case "empty":
            folder.revoke("logger")
        case "gone":
            folder.allowed.rename(tmp_path / "elsewhere")
        case "malformed":
            (folder.allowed / "page.key").write_text("page\n")
        case "public":
            (folder.allowed / "logger.key").chmod(0o600)
            settings[0] = f'security.secret_key="{folder.allowed}/logger.key"'
    done = run(*settings, f'publish.endpoint="ipc://{tmp_path}/live"')
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert words in line
    assert not (tmp_path / "live").exists()


def test_beyond_this_machine_keys_are_needed(tmp_path: Path) -> None:
    address = f"tcp://*:{free_port()}"
    done = run(f'publish.endpoint="{address}"')
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert f"publish.endpoint: {address!r} can be reached by other machines" in done.stderr
    assert "affect-edge keys new NAME" in done.stderr
    half = run(f'publish.endpoint="{address}"', f'security.secret_key="{tmp_path}/a.key_secret"')
    assert (half.returncode, half.stderr.count("\n")) == (78, 1)
    assert "security.allowed_keys: not set" in half.stderr


@pytest.mark.parametrize("endpoint", ["tcp://*:{}", "tcp://[::]:{}"])
def test_with_keys_every_address_can_be_bound(tmp_path: Path, endpoint: str) -> None:
    folder = KeyFolder(tmp_path / "keys", "logger")
    ports = free_port(), free_port()
    host = "[::1]" if "[" in endpoint else "127.0.0.1"
    live, service = (endpoint.format(port) for port in ports)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "edge", "run", *DEMO, *folder.settings()),
            *("--set", f'publish.endpoint="{live}"', "--set", 'metrics.address=""'),
            *("--set", f'publish.service_endpoint="{service}"'),
        ]
    ) as daemon:
        try:
            client = ("--limit", "1", *folder.options("logger"))
            seen = affect_edge("tail", "--connect", f"tcp://{host}:{ports[0]}", *client)
            assert (seen.returncode, bool(seen.stdout)) == (0, True), seen.stderr
            asked = affect_edge(
                "mark", "x", "--service", f"tcp://{host}:{ports[1]}", *folder.options("logger")
            )
            assert asked.returncode == 0, asked.stderr
        finally:
            daemon.terminate()
            assert daemon.wait(HANG_S) == 0


def test_the_messages_are_those_without_keys(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", "logger")
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber", *folder.settings(),
        keys=folder.keys("logger"),
    ) as daemon:  # fmt: skip
        assert daemon.run_to_end() == 0
        assert len(daemon.frames) == 300
        secrets = (read_secret(folder.secret, "test").secret, folder.keys("logger").secret)
        text = json.dumps(daemon.messages)  # the record holds the configuration, and so the paths
        assert all(str(secret) not in text for secret in secrets)
