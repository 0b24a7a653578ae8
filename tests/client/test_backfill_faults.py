"""Whatever the network and the consumer do: every message is stored once, and in order."""

import random
import threading
import time

import pytest

from edge.client import Subscriber, fetch_socket
from tests.support.fetch_server import FakeDaemon
from tests.support.killed_consumer import killed_consumer
from tests.support.ports import free_port
from tests.support.relay import ReplyRelay, TcpRelay


@pytest.fixture
def quick(monkeypatch):
    """Make requests time out soon, so that a test may lose many."""
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_S", 0.1)
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_MAX_S", 0.4)
    monkeypatch.setattr(fetch_socket, "_BACK_OFF_S", 0.02)


def publish_all(daemon, count, seed, pause_s=0.0):
    """Publish messages in a few epochs; a third of them is lost, and the last one."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.005:
            daemon.start_epoch(publish=chance.random() < 0.5)
        daemon.publish(publish=chance.random() > 0.3)
        time.sleep(pause_s)
    daemon.publish(publish=False)


def receive_all(subscriber, daemon, publishing, meanwhile=lambda: None):
    """Return the positions that are received until nothing more is published, and all came."""
    received = []
    deadline = time.monotonic() + 90
    while publishing.is_alive() or received[-1:] != daemon.positions[-1:]:
        assert time.monotonic() < deadline, subscriber.waiting_for
        meanwhile()
        each = subscriber.receive(0.05)
        if each is not None:
            assert each.gap is None
            received.append((each.message.epoch, each.message.seq))
    return received


@pytest.mark.parametrize("seed", range(3))
def test_lost_repeated_and_reordered_replies(tmp_path, quick, seed):
    live, service, relayed = (f"ipc://{tmp_path}/{each}" for each in ("live", "service", "relay"))
    with (
        FakeDaemon(live, service, page_max=20) as daemon,
        ReplyRelay(service, relayed, seed) as relay,
        Subscriber([live], services=[relayed], name="x") as subscriber,
    ):
        relay.lost, relay.repeated = 0.2, 0.5
        daemon.start_epoch()
        daemon.wait_for_subscriber()
        thread = threading.Thread(target=publish_all, args=(daemon, 600, seed))
        thread.start()
        received = receive_all(subscriber, daemon, thread, subscriber.acknowledge)
        assert received == daemon.positions


@pytest.mark.parametrize("seed", range(2))
def test_connections_that_are_cut(quick, seed):
    live, service = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    chance = random.Random(seed)
    with (
        FakeDaemon(live, service, page_max=50) as daemon,
        TcpRelay(live, seed) as live_relay,
        TcpRelay(service, seed) as service_relay,
        Subscriber([live_relay.endpoint], services=[service_relay.endpoint]) as subscriber,
    ):
        for each in (live_relay, service_relay):
            each.delay_s, each.stall_share = 0.01, 0.3
        daemon.start_epoch()
        thread = threading.Thread(target=publish_all, args=(daemon, 1000, seed, 0.002))
        thread.start()

        def cut():
            if thread.is_alive() and chance.random() < 0.02:
                chance.choice([live_relay, service_relay]).cut()

        received = receive_all(subscriber, daemon, thread, cut)
        assert received == daemon.positions


def test_a_consumer_that_is_killed_stores_each_message_once(tmp_path):
    assert killed_consumer(tmp_path, kills=8, seed=1) > 100
