"""Live and fetched messages together, against real sockets."""

import contextlib
import time

import pytest

from edge.client import Cursor, Gap, Subscriber, fetch_socket
from edge.errors import ConfigError, RequestRefused
from tests.support.fetch_server import FakeDaemon
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import Publisher, frame, status


@pytest.fixture
def addresses(tmp_path):
    return f"ipc://{tmp_path}/live", f"ipc://{tmp_path}/service"


@pytest.fixture
def daemon(addresses):
    with FakeDaemon(*addresses) as daemon:
        daemon.start_epoch()
        yield daemon


def subscribe(addresses, **options):
    return Subscriber([addresses[0]], services=[addresses[1]], **options)


def take(subscriber, count):
    received = [subscriber.receive(timeout_s=HANG_S) for _ in range(count)]
    assert None not in received
    return received


def hold(subscriber, hold_s):
    """Let live messages wait so long from now on for a service that does not answer."""
    subscriber._backfill._hold_s = hold_s


def numbers(received):
    return [(r.message.epoch, r.message.seq) for r in received if r.message.kind != "status"]


def test_what_was_published_before_comes_first(daemon, addresses):
    for _ in range(1200):
        daemon.publish()
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        assert not subscriber.caught_up
        daemon.publish()
        received = take(subscriber, 1)
        assert 0 < subscriber.backlog <= 1201
        received += take(subscriber, 1201)
        assert subscriber.caught_up
        assert subscriber.backlog == 0
        assert subscriber.waiting_for == ""
        daemon.publish()
        received += take(subscriber, 1)
        assert subscriber.cursors == (Cursor("s", 1, 1202),)
    assert numbers(received) == daemon.positions
    assert received[0].message.event == "epoch_started"
    assert received[0].backfilled
    assert not received[-1].backfilled
    assert [r.body for r in received] == list(daemon.stored.values())
    assert received[5].part.startswith(b"affect.v1.frame.edge {")
    assert not any(r.gap or r.late for r in received)


def test_a_hole_is_fetched_and_live_messages_wait(daemon, addresses):
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        for is_published in (True, False, False, True, True):
            daemon.publish(publish=is_published)
        received = take(subscriber, 5)
    assert numbers(received) == [(1, seq) for seq in range(1, 6)]
    assert not any(r.gap for r in received)


def test_a_lost_last_message_shows_in_the_status(daemon, addresses):
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.publish(publish=False)
        daemon.send(status(1))
        received = take(subscriber, 2)
    assert [r.message.kind for r in received] == ["frame", "status"]


def test_silence_is_fetched(daemon, addresses):
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.publish(publish=False)
        assert numbers(take(subscriber, 1)) == [(1, 1)]


def test_an_epoch_that_began_meanwhile_is_complete(daemon, addresses):
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.publish(publish=False)
        daemon.start_epoch(publish=False)
        daemon.publish()
        received = take(subscriber, 3)
    assert numbers(received) == [(1, 1), (2, 0), (2, 1)]
    assert not any(r.gap for r in received)


def test_cursors_continue_where_an_earlier_run_stopped(daemon, addresses):
    for _ in range(9):
        daemon.publish()
    with subscribe(addresses, cursors=[Cursor("s", 1, 6)]) as subscriber:
        assert numbers(take(subscriber, 3)) == [(1, 7), (1, 8), (1, 9)]


def test_what_is_gone_is_a_gap_with_its_reason(daemon, addresses):
    for _ in range(9):
        daemon.publish()
    daemon.lose(1, 7, 8)
    with subscribe(addresses, cursors=[Cursor("s", 1, 6)]) as subscriber:
        (received,) = take(subscriber, 1)
    assert numbers([received]) == [(1, 9)]
    assert received.gap == Gap("s", 1, 7, 8, "trimmed")


def test_all_gaps_before_a_message_come_with_it(daemon, addresses):
    """The second came with the next message: a kill between them lost it."""
    daemon.publish()
    daemon.lose(1, 2, 5)
    daemon.begin_epoch()
    daemon.lose(2, 0, 4)
    daemon.start_epoch()
    with subscribe(addresses) as subscriber:
        received = take(subscriber, 3)
    gaps = (Gap("s", 1, 2, 5, "trimmed"), Gap("s", 2, 0, 4, "trimmed"))
    assert [r.gaps for r in received] == [(), (), gaps]
    assert received[-1].gap == gaps[0]


def test_an_unknown_number_of_lost_messages_is_a_gap_too(daemon, addresses):
    daemon.publish()
    daemon.lose(1, 2, None, "power_cut")
    daemon.start_epoch()
    with subscribe(addresses) as subscriber:
        received = take(subscriber, 3)
        assert subscriber.receive(0.3) is None
    assert [r.gap for r in received] == [None, None, Gap("s", 1, 2, None, "power_cut")]
    assert received[-1].gap.missing == 0


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("oldest", [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]),
        ("epoch", [(2, 0), (2, 1), (2, 2), (2, 3)]),
        ("now", [(2, 0), (2, 3)]),
    ],
)
def test_where_a_new_consumer_begins(daemon, addresses, since, expected):
    daemon.publish()
    daemon.start_epoch()
    daemon.publish()
    daemon.publish()
    with subscribe(addresses, since=since) as subscriber:
        daemon.wait_for_subscriber()
        received = take(subscriber, len(expected) - 1)
        daemon.publish()
        received += take(subscriber, 1)
        assert subscriber.cursors == (Cursor("s", 2, 3),)
        while not subscriber.caught_up:  # a live message may come before the service's next reply
            subscriber.receive(0.05)
    assert numbers(received) == expected
    assert not any(r.gap for r in received)


def test_only_what_the_caller_keeps_is_acknowledged(daemon, addresses):
    for _ in range(9):
        daemon.publish()
    with subscribe(addresses, name="mine") as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 4)
        subscriber.acknowledge()
        take(subscriber, 4)
        wait_until(lambda: subscriber.receive(0.05) is None and daemon.acknowledged)
        assert daemon.acknowledged == {"mine": (1, 3)}
        subscriber.acknowledge()
    # the last acknowledgement is sent when the subscriber is closed
    wait_until(lambda: daemon.acknowledged == {"mine": (1, 9)})
    assert len({request.instance for request in daemon.requests if request.name}) == 1


def test_kinds_and_device_are_chosen_after_the_order_is_known(daemon, addresses):
    daemon.publish()
    daemon.publish("mark")
    daemon.publish()
    with subscribe(addresses, kinds=["frame"]) as subscriber:
        assert numbers(take(subscriber, 2)) == [(1, 1), (1, 3)]
        assert subscriber.cursors == (Cursor("s", 1, 3),)
    with subscribe(addresses, device="other") as subscriber:
        assert subscriber.receive(0.5) is None
        assert subscriber.caught_up


def test_two_daemons_are_independent_whatever_the_order_of_their_addresses(
    daemon, addresses, tmp_path
):
    live, service = f"ipc://{tmp_path}/live2", f"ipc://{tmp_path}/service2"
    with FakeDaemon(live, service, stream="t") as second:
        for each in (daemon, second):
            each.publish("epoch_started") if each.epoch else each.start_epoch()
            for _ in range(700):
                each.publish()
        with Subscriber(
            [addresses[0], live], services=[service, addresses[1]], name="both"
        ) as subscriber:
            received = take(subscriber, 702 + 701)
            assert subscriber.caught_up
            subscriber.acknowledge()
        for each, stream in ((daemon, "s"), (second, "t")):
            of_stream = [r for r in received if r.message.stream == stream]
            assert numbers(of_stream) == each.positions
            wait_until(lambda each=each: each.acknowledged == {"both": each.positions[-1]})


def test_a_stream_without_a_service_comes_as_it_is_published(daemon, addresses, tmp_path):
    other = f"ipc://{tmp_path}/other"
    with (
        Publisher(other) as publisher,
        Subscriber([addresses[0], other], services=[addresses[1]]) as subscriber,
    ):
        daemon.wait_for_subscriber()
        publisher.wait_for_subscriptions()
        take(subscriber, 1)
        publisher.send(frame(5, stream="t"), frame(8, stream="t"), status(9, stream="t"))
        received = take(subscriber, 3)
    assert [r.gap for r in received] == [None, Gap("t", 1, 6, 7), Gap("t", 1, 9, 9)]


def test_a_service_that_never_answers_stops_no_other_daemon(daemon, addresses, tmp_path):
    live, service = f"ipc://{tmp_path}/live2", f"ipc://{tmp_path}/nobody"
    with (
        Publisher(live) as publisher,
        Subscriber(
            [addresses[0], live], services=[addresses[1], service], hold_s=HANG_S
        ) as subscriber,
    ):
        daemon.wait_for_subscriber()
        publisher.wait_for_subscriptions()
        publisher.send(frame(5, stream="t"))
        daemon.publish()
        assert [r.message.stream for r in take(subscriber, 2)] == ["s", "s"]
        hold(subscriber, 1.2)  # longer than a wait is not said
        (received,) = take(subscriber, 1)
        assert not subscriber.caught_up
        assert service in subscriber.waiting_for
        assert subscriber.unanswered_s >= 1.2
    assert received.gap == Gap("t", 1, 0, 4, "not_fetched")


def test_what_a_silent_service_does_not_bring_in_time_is_a_gap(daemon, addresses, monkeypatch):
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_MAX_S", 0.2)
    with subscribe(addresses, hold_s=HANG_S) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.is_mute = True
        for is_published in (False, False, True, True):
            daemon.publish(publish=is_published)
        while "2 messages wait" not in subscriber.waiting_for:
            assert subscriber.receive(0.05) is None
        hold(subscriber, 0.0)
        received = take(subscriber, 2)
        hold(subscriber, HANG_S)
        daemon.is_mute = False
        daemon.publish(publish=False)
        daemon.publish()
        received += take(subscriber, 2)
        assert min(request.max for request in daemon.requests if request.max) < 500
    assert numbers(received) == [(1, 3), (1, 4), (1, 5), (1, 6)]
    assert [r.gap for r in received] == [Gap("s", 1, 1, 2, "not_fetched"), None, None, None]
    with subscribe(addresses, cursors=[Cursor("s", 1, 0)]) as subscriber:
        assert numbers(take(subscriber, 2)) == [(1, 1), (1, 2)]


def test_a_pause_of_the_caller_is_no_silence_of_the_service(daemon, addresses, monkeypatch):
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_S", 0.1)
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_MAX_S", 0.1)
    monkeypatch.setattr(fetch_socket, "_BACK_OFF_S", 0.02)
    with subscribe(addresses, hold_s=2.0) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.is_mute = True
        daemon.publish(publish=False)
        daemon.publish()
        assert subscriber.receive(0.3) is None
        time.sleep(2.5)  # a slow disk, or Ctrl-Z
        daemon.is_mute = False
        received = take(subscriber, 2)
    assert numbers(received) == [(1, 1), (1, 2)]
    assert received[-1].gap is None


def test_messages_wait_as_long_as_the_daemon_answers(daemon, addresses):
    with subscribe(addresses, hold_s=0.5) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.send(frame(2))  # the daemon stores it, and the one before, only later
        assert subscriber.receive(1.5) is None
        assert "1 messages wait" in subscriber.waiting_for
        assert not subscriber.caught_up
        daemon.publish(publish=False)
        daemon.publish(publish=False)
        assert numbers(take(subscriber, 2)) == [(1, 1), (1, 2)]
        assert subscriber.caught_up


def test_silent_services_do_not_keep_others_from_fetching(daemon, addresses, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_S", 1000)  # all of them are waited for
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_MAX_S", 1000)
    for _ in range(1200):
        daemon.publish()
    with contextlib.ExitStack() as stack:
        silent = [f"ipc://{tmp_path}/silent{number}" for number in range(8)]
        for each in silent:
            stack.enter_context(FakeDaemon(each + "live", each)).is_mute = True
        subscriber = stack.enter_context(
            Subscriber([addresses[0]], services=[*silent, addresses[1]])
        )
        assert numbers(take(subscriber, 1201)) == daemon.positions
        assert not subscriber.caught_up


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("", "request: expected one of mark, participant, status (received 'fetch')"),
        ("unknown_request", "other words"),
    ],
)
def test_a_daemon_without_fetch_is_reported_once(daemon, addresses, code, refusal):
    daemon.refusal_code, daemon.refusal = code, refusal
    lines = []
    with subscribe(addresses, report=lines.append) as subscriber:
        daemon.wait_for_subscriber()
        daemon.publish()
        daemon.start_epoch()
        assert numbers(take(subscriber, 2)) == [(1, 1), (2, 0)]
        assert subscriber.receive(1.5) is None
        assert subscriber.caught_up
    assert len(lines) == 1
    assert "older" in lines[0]


@pytest.mark.parametrize("is_published", [True, False])
def test_a_cursor_ahead_of_the_stream_is_an_error(daemon, addresses, is_published):
    if not is_published:
        daemon.new_stream("s")
    with subscribe(addresses, cursors=[Cursor("s", 99, 0)]) as subscriber:
        daemon.wait_for_subscriber()
        daemon.start_epoch()
        with pytest.raises(RequestRefused, match="ahead"):
            subscriber.receive(HANG_S)


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("cursor_ahead", "other words"),
        ("name_taken", "other words"),
        ("", "the cursor is ahead of the stream: ..."),
        ("", "another process fetches as 'log' since ..."),
    ],
)
def test_what_cannot_be_fetched_ever_is_an_error(daemon, addresses, code, refusal):
    daemon.refusal_code, daemon.refusal = code, refusal
    with subscribe(addresses) as subscriber, pytest.raises(RequestRefused, match=refusal):
        subscriber.receive(HANG_S)


@pytest.mark.parametrize("code", ["", "busy", "failed", "of_a_newer_daemon"])
def test_a_refusal_that_may_pass_is_waited_for(daemon, addresses, code):
    lines = []
    daemon.refusal_code = code
    with subscribe(addresses, hold_s=1.5, report=lines.append) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.refusal = "it is ahead of --name; try again"
        daemon.publish(publish=False)
        daemon.publish()
        assert subscriber.receive(2.5) is None
        assert "try again" in subscriber.waiting_for
        assert len(lines) == 1
        daemon.refusal = ""
        assert numbers(take(subscriber, 2)) == [(1, 1), (1, 2)]
        assert subscriber.waiting_for == ""


def test_a_daemon_with_a_new_stream_is_followed(daemon, addresses):
    with subscribe(addresses) as subscriber:
        daemon.wait_for_subscriber()
        take(subscriber, 1)
        daemon.new_stream("new")
        daemon.start_epoch(publish=False)
        daemon.publish()
        received = take(subscriber, 2)
    assert numbers(received) == [(1, 0), (1, 1)]
    assert {r.message.stream for r in received} == {"new"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"conflate": True}, "conflate"),
        ({"name": "two words"}, "name"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_wrong_options_are_configuration_errors(addresses, options, text):
    with pytest.raises(ConfigError, match=text):
        subscribe(addresses, **options)


@pytest.mark.parametrize("service", ["", "tcp:/127.0.0.1:5556", "tcp://127.0.0.1:99999"])
def test_a_wrong_service_address_is_a_configuration_error(addresses, service):
    with pytest.raises(ConfigError, match=r"service.*expected"), subscribe((addresses[0], service)):
        raise AssertionError("entered")
