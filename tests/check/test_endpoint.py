"""What ``check`` says of addresses, with real sockets."""

import socket
from pathlib import Path

import pytest

from edge import clock
from edge.check import endpoint
from edge.check.endpoint import clock_line, endpoint_lines
from edge.config import load_config

FREE = {
    "publish.endpoint": "tcp://127.0.0.1:*",
    "publish.service_endpoint": "",
    "metrics.address": "",
}


def lines(**changed: str) -> dict[str, tuple[str, str]]:
    """Return level and text by key; dots in keys are written as two underscores."""
    settings = FREE | {key.replace("__", "."): value for key, value in changed.items()}
    config = load_config(
        settings=[f'{key}="{value}"' for key, value in settings.items()], environment={}
    )
    return {text.partition(":")[0].partition(" ")[0]: (level, text) for level, text in
            endpoint_lines(config)}  # fmt: skip


def test_free_addresses_can_be_bound(tmp_path: Path) -> None:
    path = f"ipc://{tmp_path}/service"
    found = lines(publish__service_endpoint=path, metrics__address="localhost:1")
    assert found["publish.endpoint"] == ("ok", "publish.endpoint tcp://127.0.0.1:*: can be bound")
    assert found["publish.service_endpoint"] == (
        "ok", f"publish.service_endpoint {path}: can be bound",
    )  # fmt: skip
    assert not (tmp_path / "service").exists()  # nothing is left


def test_addresses_in_use_may_be_a_running_daemon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"{tmp_path}/live")
        unix.listen()
        found = lines(
            publish__endpoint=f"ipc://{tmp_path}/live",
            metrics__address=f"127.0.0.1:{tcp.getsockname()[1]}",
        )
    for key in ("publish.endpoint", "metrics.address"):
        level, text = found[key]
        assert level == "WARN"
        assert text.endswith("in use; expected a free address, or the daemon is running already")


def test_a_socket_that_a_killed_daemon_left_is_no_obstacle(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"{tmp_path}/live")
    assert lines(publish__endpoint=f"ipc://{tmp_path}/live")["publish.endpoint"][0] == "ok"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "a folder"),
        ("file", "a file that is no socket"),
        ("gone/live", "gone does not exist"),
        ("file/live", "Not a directory"),
    ],
)
def test_ipc_paths_that_cannot_be_bound(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    level, text = lines(publish__endpoint=f"ipc://{tmp_path}/{name}")["publish.endpoint"]
    assert level == "WRONG"
    assert words in text
    assert "\n" not in text


def test_a_folder_of_another_user_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert lines(publish__endpoint="ipc:///usr/live")["publish.endpoint"][0] == "WARN"


@pytest.mark.parametrize(
    ("host", "text"),
    [("*", "can be bound"), ("[::]", "can be bound"), ("lo", "an interface of this machine")],
)
def test_addresses_for_other_machines(host: str, text: str) -> None:
    keys = {"security__secret_key": "/k/a.key_secret", "security__allowed_keys": "/k"}
    found = lines(publish__endpoint=f"tcp://{host}:*", **keys)["publish.endpoint"]
    assert found == ("ok", f"publish.endpoint tcp://{host}:*: {text}")


def test_an_address_that_this_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 1))]
    )
    level, text = lines(metrics__address="127.0.0.1:9108")["metrics.address"]
    assert level == "WRONG"
    assert "cannot be bound: Cannot assign requested address" in text


@pytest.mark.parametrize(("synchronized", "level"), [(True, "ok"), (False, "WARN")])
def test_the_clock(monkeypatch: pytest.MonkeyPatch, synchronized: bool, level: str) -> None:
    health = clock.ClockHealth(synchronized, None)
    monkeypatch.setattr(endpoint, "wall_clock_health", lambda: health)
    assert clock_line()[0] == level
