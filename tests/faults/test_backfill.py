"""Long faults of the network and of the consumer: nothing is missing, nothing comes twice."""

import os
import threading
import time
from pathlib import Path

import pytest

from edge.client import Subscriber
from tests.support.fetch_server import FakeDaemon
from tests.support.killed_consumer import killed_consumer
from tests.support.ports import free_port
from tests.support.relay import TcpRelay
from tests.support.wire import status

pytestmark = pytest.mark.stage

KILLS = int(os.environ.get("AFFECT_EDGE_KILLS", "300"))


def test_a_consumer_that_is_killed_hundreds_of_times(tmp_path: Path) -> None:
    stored = killed_consumer(tmp_path, kills=KILLS, seed=2)
    print(f"{KILLS} kills, {stored} messages: 0 missing, 0 twice")


@pytest.mark.timeout(300)
def test_a_link_that_loses_packets_and_then_everything_for_a_minute() -> None:
    live, service = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    with (
        FakeDaemon(live, service) as daemon,
        TcpRelay(live, 1) as live_relay,
        TcpRelay(service, 2) as service_relay,
        Subscriber([live_relay.endpoint], services=[service_relay.endpoint]) as subscriber,
    ):
        for each in (live_relay, service_relay):
            each.delay_s, each.stall_share = 0.2, 0.3
        daemon.start_epoch()
        is_over = threading.Event()

        def publish() -> None:
            while not is_over.wait(1 / 30):
                daemon.publish()
                if not daemon.last_seq % 30:
                    daemon.send(status(daemon.last_seq, epoch=daemon.epoch))

        publishing = threading.Thread(target=publish)
        publishing.start()
        received = []

        def receive(seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                each = subscriber.receive(0.05)
                if each is not None and each.message.kind != "status":
                    assert each.gap is None
                    received.append((each.message.epoch, each.message.seq))

        receive(20)
        assert len(received) > 400
        for each in (live_relay, service_relay):
            each.is_black_hole = True
        receive(60)
        noticed = subscriber.waiting_for
        for each in (live_relay, service_relay):
            each.is_black_hole = False
        is_back = time.monotonic()
        target = daemon.positions[-1]
        while (not received or received[-1] < target) and time.monotonic() < is_back + 60:
            receive(0.1)
        took_s = time.monotonic() - is_back
        is_over.set()
        publishing.join()
        receive(8)
        print(f"caught up {took_s:.1f} s after the black hole; it had said: {noticed}")
        assert received == daemon.positions
        assert noticed
        assert took_s <= 10
