"""A stream comes from one endpoint; another daemon that names it is skipped, and reported."""

import pytest

from edge.client import Subscriber
from edge.client.origins import CLAIM_NS, SILENT_NS, Origins
from tests.support.fetch_server import FakeDaemon
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import Publisher, frame, status

SECOND = 1_000_000_000


@pytest.fixture
def lines():
    return []


@pytest.fixture
def origins(lines):
    return Origins(["tcp://a:1", "tcp://b:1"], lines.append)


def test_the_first_endpoint_keeps_a_stream(origins, lines):
    assert origins.accepts("s", "edge", 0, 0)
    assert not any(origins.accepts("s", "edge", 1, now) for now in range(10))
    assert origins.accepts("t", "edge", 1, 0)
    assert origins.endpoint_of("s") == "tcp://a:1"
    assert origins.endpoint_of("unknown") is None
    assert lines == [
        "tcp://b:1 publishes the stream of tcp://a:1 (edge), too: its messages of that are skipped;"
        " expected each daemon once in --connect"
    ]
    assert origins.claims(SECOND) == {"s": lines[0]}
    assert origins.claims(CLAIM_NS + SECOND) == {}


def test_a_stream_moves_when_its_endpoint_is_silent(origins, lines):
    origins.accepts("s", "edge", 0, 0)
    assert not origins.accepts("s", "edge", 1, SILENT_NS)
    assert origins.accepts("s", "edge", 1, SILENT_NS + 1)
    assert origins.endpoint_of("s") == "tcp://b:1"
    assert len(lines) == 1


def test_the_endpoint_whose_service_serves_it_gets_a_stream(origins, lines):
    assert origins.accepts("s", "edge", 1, 0)
    origins.note_served("s", 0)
    origins.note_served("s", 1)  # the first one counts
    assert not origins.accepts("s", "edge", 1, 1)
    assert origins.accepts("s", "edge", 0, 1)
    assert not origins.accepts("s", "edge", 1, 2)
    assert lines[0].startswith("tcp://b:1 publishes the stream of tcp://a:1 (edge), too")


def test_services_in_another_order_than_endpoints_lose_nothing_for_long(origins, lines):
    origins.note_served("s", 0)
    assert not origins.accepts("s", "edge", 1, 0)
    assert origins.accepts("s", "edge", 1, SILENT_NS + 1)
    assert origins.accepts("s", "edge", 1, SILENT_NS + 2)
    assert lines == []


def test_invented_streams_displace_no_other(origins):
    origins.accepts("s", "edge", 0, 0)
    for number in range(5000):
        origins.accepts(f"x{number}", "liar", 1, number)
        assert origins.accepts("s", "edge", 0, number)
        assert not origins.accepts("s", "edge", 1, number)


def test_a_lying_publisher_adds_nothing_to_a_stream(tmp_path, lines):
    true, lying = f"ipc://{tmp_path}/true", f"ipc://{tmp_path}/lying"
    with (
        Publisher(true) as publisher,
        Publisher(lying) as liar,
        Subscriber([true, lying], report=lines.append) as subscriber,
    ):
        publisher.wait_for_subscriptions()
        liar.wait_for_subscriptions()
        publisher.send(frame(1))
        received = [subscriber.receive(HANG_S)]
        liar.send(frame(9000), frame(2, epoch=7), frame(0, stream="other"), status(9000))
        received.append(subscriber.receive(HANG_S))
        publisher.send(frame(2))
        received.append(subscriber.receive(HANG_S))
        assert subscriber.endpoint_of("s") == true
        assert subscriber.endpoint_of("other") == lying
        assert list(subscriber.claims) == ["s"]
        assert subscriber.receive(0.2) is None
    found = [(each.message.stream, each.message.epoch, each.message.seq) for each in received]
    assert found == [("s", 1, 1), ("other", 1, 0), ("s", 1, 2)]
    assert not any(each.gap or each.late for each in received)
    assert len(lines) == 1


def test_with_services_the_true_daemon_gets_its_stream_though_a_liar_came_first(tmp_path, lines):
    true = (f"ipc://{tmp_path}/true", f"ipc://{tmp_path}/true-service")
    lying = (f"ipc://{tmp_path}/lying", f"ipc://{tmp_path}/lying-service")
    with FakeDaemon(*true) as daemon, FakeDaemon(*lying, stream="lie") as liar:
        daemon.start_epoch()
        liar.start_epoch()
        pairs = {"services": [true[1], lying[1]], "since": "epoch", "report": lines.append}
        with Subscriber([true[0], lying[0]], **pairs) as subscriber:
            liar.wait_for_subscriber()
            daemon.wait_for_subscriber()
            liar.send(frame(77, stream="s"))
            found = []
            wait_until(lambda: take(subscriber, found) and serves(subscriber, "s"))
            liar.send(frame(78, stream="s"))
            daemon.publish()
            wait_until(lambda: take(subscriber, found) and daemon.last_seq in of_stream(found, "s"))
            liar.send(frame(79, stream="s"))
            wait_until(lambda: take(subscriber, found) and lines)
            assert subscriber.endpoint_of("s") == true[0]
    numbers = of_stream(found, "s")
    assert numbers == list(range(numbers[0], 2))
    assert lines[0].startswith(f"{lying[0]} publishes the stream of {true[0]} (edge), too")


def test_a_second_service_of_a_stream_is_not_fetched_from(tmp_path, lines):
    true = (f"ipc://{tmp_path}/true", f"ipc://{tmp_path}/true-service")
    lying = (f"ipc://{tmp_path}/lying", f"ipc://{tmp_path}/lying-service")
    with FakeDaemon(*true) as daemon:
        daemon.start_epoch()
        services = [true[1], lying[1]]
        with Subscriber([true[0]], services=services, report=lines.append) as subscriber:
            daemon.wait_for_subscriber()
            found = []
            wait_until(lambda: take(subscriber, found) and found)
            with FakeDaemon(*lying) as liar:
                liar.start_epoch()
                for _ in range(5):
                    liar.publish(publish=False)
                wait_until(lambda: take(subscriber, found) and lines)
                daemon.publish()
                wait_until(lambda: take(subscriber, found) and 1 in of_stream(found, "s"))
                assert subscriber.caught_up
    assert of_stream(found, "s") == [0, 1]
    assert lines == [
        f"{lying[1]} serves the stream of {true[1]}, too: nothing is fetched from it; expected"
        " each daemon once in --service"
    ]


def take(subscriber, found):
    received = subscriber.receive(0.02)
    if received is not None:
        found.append(received.message)
    return True


def of_stream(found, stream):
    return [each.seq for each in found if each.stream == stream and each.kind != "status"]


def serves(subscriber, stream):
    return stream in subscriber._live.origins._served
