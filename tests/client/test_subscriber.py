"""The subscriber against real sockets."""

import itertools
import json
import subprocess
import sys

import pytest

from edge.client import PART_BYTES_MAX, Cursor, Gap, Subscriber
from edge.errors import ConfigError
from edge.protocol import messages
from tests.support.waiting import HANG_S
from tests.support.wire import Publisher, event, face, frame, status


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/pub"


@pytest.fixture
def publisher(endpoint):
    with Publisher(endpoint) as publisher:
        yield publisher


def take(subscriber, count):
    received = [subscriber.receive(timeout_s=HANG_S) for _ in range(count)]
    assert None not in received
    return received


def test_messages_are_received_decoded_and_as_bytes(publisher, endpoint):
    sent = [event(0), frame(1), frame(2, face()), status(2)]
    with Subscriber([endpoint]) as subscriber:
        assert publisher.wait_for_subscriptions() == {b"affect.v1."}
        publisher.send(*sent)
        received = take(subscriber, len(sent))
        assert subscriber.receive(timeout_s=0.0) is None
    assert [r.message for r in received] == sent
    assert [r.part for r in received] == [messages.encode(m) for m in sent]
    assert [json.loads(r.body)["kind"] for r in received] == ["event", "frame", "frame", "status"]
    assert not any(r.gap or r.late for r in received)


def test_gaps_repeats_and_a_lost_last_message_are_reported(publisher, endpoint):
    with Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(3), frame(7), frame(5), frame(7), status(9), frame(10))
        received = take(subscriber, 6)
        assert subscriber.cursors == (Cursor("s", 1, 10),)
    assert [r.gap for r in received] == [
        None, Gap("s", 1, 4, 6), None, None, Gap("s", 1, 8, 9), None,
    ]  # fmt: skip
    assert [r.late for r in received] == [False, False, True, True, False, False]


def test_it_reconnects_to_a_restarted_publisher_and_reports_the_gap(endpoint):
    with Subscriber([endpoint]) as subscriber:
        with Publisher(endpoint) as publisher:
            publisher.wait_for_subscriptions()
            publisher.send(frame(0, epoch=4))
            take(subscriber, 1)
        with Publisher(endpoint) as publisher:
            publisher.send(event(0, epoch=5), frame(1, epoch=5))  # nobody is connected yet
            publisher.wait_for_subscriptions(meanwhile=lambda: subscriber.receive(0.01))
            publisher.send(frame(2, epoch=5))
            (received,) = take(subscriber, 1)
    assert received.gap == Gap("s", 5, 0, 1)


def test_the_first_messages_of_an_epoch_that_a_waiting_subscriber_lost_are_missing(endpoint):
    with Subscriber([endpoint]) as waiting:
        assert waiting.receive(timeout_s=0.2) is None
        with Publisher(endpoint) as publisher:
            publisher.send(event(0), frame(1))  # nobody is connected yet
            publisher.wait_for_subscriptions(meanwhile=lambda: waiting.receive(0.01))
            publisher.send(frame(2), status(2, age_s=0.1), status(2, age_s=0.15))
            assert [each.gap for each in take(waiting, 3)] == [None, Gap("s", 1, 0, 1), None]


def test_a_subscriber_that_joins_an_epoch_missed_nothing(publisher, endpoint):
    with Subscriber([endpoint]) as late:
        publisher.wait_for_subscriptions()
        publisher.send(frame(3), status(3, age_s=60.0))
        assert [each.gap for each in take(late, 2)] == [None, None]


def test_gaps_of_two_publishers_are_separate(tmp_path):
    endpoints = [f"ipc://{tmp_path}/one", f"ipc://{tmp_path}/two"]
    with (
        Publisher(endpoints[0]) as one,
        Publisher(endpoints[1]) as two,
        Subscriber(endpoints) as subscriber,
    ):
        for publisher, stream in ((one, "s1"), (two, "s2")):
            publisher.wait_for_subscriptions()
            publisher.send(frame(10, stream=stream), frame(12, stream=stream))
        gaps = {r.message.stream: r.gap for r in take(subscriber, 4) if r.gap}
    assert gaps == {"s1": Gap("s1", 1, 11, 11), "s2": Gap("s2", 1, 11, 11)}


def test_a_device_does_not_match_a_longer_name(publisher, endpoint):
    with Subscriber([endpoint], device="edge-1") as subscriber:
        publisher.wait_for_subscriptions(3)
        publisher.send(frame(0, device="edge-10"), frame(1, device="edge-1"))
        (received,) = take(subscriber, 1)
        assert subscriber.receive(timeout_s=0.0) is None
    assert received.message.device == "edge-1"


def test_a_subset_of_kinds_is_received_without_false_gaps(publisher, endpoint):
    with Subscriber([endpoint], kinds=["frame"]) as subscriber:
        assert publisher.wait_for_subscriptions() == {b"affect.v1.frame."}
        publisher.send(frame(0), event(1), status(1), frame(2))
        received = take(subscriber, 2)
        assert subscriber.receive(timeout_s=0.0) is None
    assert [(r.message.seq, r.gap) for r in received] == [(0, None), (2, None)]


def test_undecodable_parts_are_counted_and_skipped(publisher, endpoint):
    with Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send_raw(b"affect.v1.frame.edge")
        publisher.send_raw(b"affect.v1.frame.edge {")
        publisher.send_raw(b'affect.v1.frame.edge {"schema":"affect.v2","kind":"frame"}')
        publisher.send_raw(b"affect.v1.frame.edge \xff\xfe")
        publisher.send_raw(messages.encode(frame(0)), b"more")
        publisher.send(frame(1))
        (received,) = take(subscriber, 1)
        assert subscriber.undecodable == 5
    assert received.message.seq == 1


def test_fields_of_later_versions_stay_in_the_body(publisher, endpoint):
    part = messages.encode(frame(0)).replace(b'"seq"', b'"new":1,"seq"')
    with Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send_raw(part)
        (received,) = take(subscriber, 1)
    assert received.message == frame(0)
    assert json.loads(received.body)["new"] == 1


def test_conflate_keeps_the_newest_message_and_reports_no_gap(publisher, endpoint):
    with Subscriber([endpoint], conflate=True) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(0))
        first = take(subscriber, 1)
        publisher.send(*(frame(seq) for seq in range(1, 500)))
        later = []
        while not later or later[-1].message.seq < 499:
            later += take(subscriber, 1)
    assert first[0].message.seq == 0
    assert not any(r.gap or r.late for r in later)


def test_it_reconnects_to_a_peer_that_zeromq_gave_up_on(publisher, endpoint):
    with Subscriber([endpoint], silence_s=0.3) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(0))
        take(subscriber, 1)
        publisher.send(event(1, detail={"text": "x" * PART_BYTES_MAX}))
        publisher.wait_for_subscriptions(meanwhile=lambda: subscriber.receive(0.01))
        publisher.send(frame(2))
        (received,) = take(subscriber, 1)
    assert received.gap == Gap("s", 1, 1, 1)


def test_it_reconnects_to_one_daemon_while_another_sends(publisher, endpoint):
    other = f"{endpoint}2"
    with Publisher(other) as busy, Subscriber([endpoint, other], silence_s=0.3) as subscriber:
        publisher.wait_for_subscriptions()
        busy.wait_for_subscriptions()
        publisher.send(event(1, detail={"text": "x" * PART_BYTES_MAX}))
        numbers = itertools.count()

        def meanwhile():
            busy.send(frame(next(numbers), stream="busy"))
            subscriber.receive(0.01)

        publisher.wait_for_subscriptions(meanwhile=meanwhile)


def test_cursors_of_an_earlier_run_reveal_the_gap_since_then(publisher, endpoint):
    with Subscriber([endpoint], cursors=[Cursor("s", 1, 5)]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(9))
        (received,) = take(subscriber, 1)
    assert received.gap == Gap("s", 1, 6, 8)


@pytest.mark.parametrize(
    "endpoints", [[], [""], ["tcp:/127.0.0.1:5555"], ["udp://127.0.0.1:1"], ["tcp://127.0.0.1:x"]]
)
def test_a_wrong_endpoint_is_a_configuration_error(endpoints):
    with pytest.raises(ConfigError) as error, Subscriber(endpoints):
        raise AssertionError("entered")
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("kinds", [[], ["frames"]])
def test_unknown_kinds_are_refused(kinds):
    with pytest.raises(ConfigError, match="expected some of frame, event, status"):
        Subscriber(["ipc:///tmp/x"], kinds=kinds)


def test_an_absent_publisher_is_no_error_but_use_outside_of_with_is(endpoint):
    subscriber = Subscriber([endpoint])
    with subscriber:
        assert subscriber.receive(timeout_s=0.01) is None
    with pytest.raises(RuntimeError):
        subscriber.receive(timeout_s=0.0)


def test_consumers_import_neither_numpy_nor_opencv():
    script = (
        "import sys, edge.client, edge.tools.log\n"
        "sys.exit(bool({'numpy', 'cv2', 'onnxruntime', 'edge.hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("argument", ["endpoints", "services"])
def test_an_address_in_place_of_a_list_of_addresses_is_refused(argument):
    """It was taken for a list of letters."""
    address = "tcp://127.0.0.1:5555"
    with pytest.raises(
        ConfigError, match=rf"^{argument}: expected a list, such as \['{address}'\]$"
    ):
        Subscriber(**{"endpoints": [address], argument: address})


MANY = """
import resource, sys
from edge.client import Subscriber
from edge.errors import ConfigError

count = 300  # beyond ZeroMQ's own limit of sockets
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
endpoints = [f"ipc:///nowhere/live-{number}" for number in range(count)]
services = [f"ipc:///nowhere/service-{number}" for number in range(count)]
try:
    with Subscriber(endpoints, services=services) as subscriber:
        subscriber.receive(0.0)
except ConfigError as error:
    sys.exit(str(error))
"""


def with_open_files(count):
    return subprocess.run(
        [sys.executable, "-c", MANY, str(count)], capture_output=True, text=True, check=False
    )


def test_hundreds_of_daemons_are_connected_to():
    done = with_open_files(4096)
    assert (done.returncode, done.stderr) == (0, "")


def test_more_daemons_than_files_is_one_line():
    done = with_open_files(1024)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "300 daemons: this process may open 1024 files; expected 1848: raise" in done.stderr
