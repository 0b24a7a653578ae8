"""Keys of clients: files, variables, options; what a refused client is told."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
import zmq

from edge import clock
from edge.client import Keys, Subscriber, fetch_socket
from edge.client.ask import ask
from edge.client.fetch_socket import FetchSocket
from edge.client.keys import ClientContext
from edge.config import PublishConfig
from edge.errors import ConfigError
from edge.hub.publisher import Publisher
from edge.protocol.requests import FetchRequest, TimeRequest
from tests.support.daemons import affect_edge
from tests.support.keyed_hub import KeyedHub
from tests.support.keys import KeyFolder


def test_keys_come_from_two_files(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, "logger")
    keys = folder.keys("logger")
    secret = str(tmp_path / "logger.key_secret")
    names = {"AFFECT_EDGE_SECRET_KEY": secret, "AFFECT_EDGE_SERVER_KEY": str(folder.public)}
    assert Keys.from_environment(names) == keys
    assert Keys.from_environment({}) is None
    assert keys.secret not in repr(keys)
    for missing, option in zip(names, ("--secret-key", "--server-key"), strict=True):
        with pytest.raises(ConfigError, match=f"{option} .*: not set; expected"):
            Keys.from_environment({**names, missing: ""})
    with pytest.raises(ConfigError, match="expected the public file"):
        Keys.load(secret, folder.secret)


@pytest.mark.parametrize("variables", [False, True])
def test_commands_need_both_keys(tmp_path: Path, variables: bool) -> None:
    folder = KeyFolder(tmp_path, "logger")
    secret = folder.options("logger")[:2]
    environment = {"AFFECT_EDGE_SECRET_KEY": secret[1]} if variables else {}
    done = affect_edge("mark", "x", *(() if variables else secret), environment=environment)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "--server-key (AFFECT_EDGE_SERVER_KEY): not set" in done.stderr


def test_each_daemon_has_a_key_of_its_own(tmp_path: Path) -> None:
    first, second = (KeyedHub(tmp_path / name) for name in ("first", "second"))
    with contextlib.closing(first), contextlib.closing(second):
        secret, public = first.keys.folder / "late.key_secret", first.keys.folder / "late.key"
        first.keys.keys("late")
        for hub in (first, second):
            shutil.copy(public, hub.keys.allowed)
            hub.security.reload()
        endpoints = [hub.publisher.endpoint for hub in (first, second)]
        services = [hub.service.endpoint for hub in (first, second)]
        files = os.pathsep.join(str(hub.keys.public) for hub in (first, second))
        names = {"AFFECT_EDGE_SECRET_KEY": str(secret), "AFFECT_EDGE_SERVER_KEY": files}
        keys = Keys.from_environment(names, endpoints=endpoints, services=services)
        context = ClientContext.of(keys)
        fetchers = [FetchSocket(context, each) for each in services]
        request = FetchRequest(stream="s", epoch=1, seq=0)
        for hub, fetcher in zip((first, second), fetchers, strict=True):
            hub.turn_until(lambda sends=fetcher: sends.send(request, clock.monotonic_ns()))
            assert not sum(hub.rejected.values())
        with pytest.raises(ConfigError, match="no public key of this daemon; expected one for"):
            ask("tcp://127.0.0.1:5556", TimeRequest(), keys=keys)
        context.destroy(linger=0)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--connect", "ipc://a", "--connect", "ipc://b", "--connect", "ipc://c"), 3),
        (("--connect", "ipc://a", "--connect", "ipc://b", "--service", "ipc://s"), 1),
        ((), 0),
    ],
)
def test_two_public_keys_are_those_of_two_daemons(
    tmp_path: Path, options: tuple[str, ...], count: int
) -> None:
    folder = KeyFolder(tmp_path, "logger")
    keys = (*folder.options("logger"), "--server-key", str(folder.public))
    done = affect_edge("log", "--out", str(tmp_path / "log.sqlite"), *options, *keys)
    option = "--service" if count == 1 else "--connect"
    assert done.returncode == 78
    assert done.stderr.endswith(
        f"--server-key: 2 files, and {count} addresses as {option}; expected one file for all"
        " daemons, or one for each, in the same order\n"
    )


def test_a_client_with_keys_hears_that_the_daemon_has_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyFolder(tmp_path, "logger").keys("logger")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publisher = Publisher(context, PublishConfig(endpoint=f"ipc://{tmp_path}/live"))
    try:
        with pytest.raises(ConfigError, match="the daemon closes the connection; expected its"):
            ask(publisher.endpoint, TimeRequest(), 10.0, keys=keys)
        with Subscriber([publisher.endpoint], keys=keys) as subscriber:
            while not caplog.messages:
                assert subscriber.receive(0.05) is None
            subscriber.receive(0.05)
        (line,) = caplog.messages
        assert line.startswith(f"ipc://{tmp_path}/live: the daemon closes the connection")
    finally:
        publisher.close(0)
        context.destroy(linger=0)


def test_a_client_whose_key_is_allowed_later_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ never connects again after a refusal: only a new socket does."""
    monkeypatch.setattr(fetch_socket, "_RETRY_S", 0.2)
    with contextlib.closing(KeyedHub(tmp_path)) as hub:
        keys = hub.keys.keys("late")
        context = ClientContext.of(keys)
        fetcher = FetchSocket(context, hub.service.endpoint)
        request = FetchRequest(stream="s", epoch=1, seq=0)

        with Subscriber([hub.publisher.endpoint], keys=keys, silence_s=0.2) as subscriber:

            def is_served() -> bool:
                fetcher.send(request, clock.monotonic_ns())
                subscriber.receive(0)
                return fetcher.is_waiting and subscriber.undecodable > 0

            hub.turn_until(lambda: is_served() or hub.rejected["unknown_key"] >= 10)
            assert not fetcher.is_waiting
            assert subscriber.undecodable == 0
            assert len([each for each in caplog.messages if "refuses this client" in each]) == 1
            (hub.keys.folder / "late.key").rename(hub.keys.allowed / "late.key")
            hub.security.reload()
            hub.turn_until(is_served)
        context.destroy(linger=0)
