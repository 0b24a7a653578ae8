"""Times of messages on this machine's clock, and the clock of a service."""

import json
import os
import threading

import pytest
import zmq

from edge import clock
from edge.errors import ConfigError
from edge.lsl.service_clock import ServiceClock
from edge.lsl.times import DeviceTimes
from edge.protocol.messages import FrameMessage
from tests.support.daemons import RunningDaemon
from tests.support.lsl_runs import LIVE
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import event, frame

MS = 1_000_000
SECOND = 1000 * MS


def taken(sensor_ns, clock_name="monotonic", *, published_ns=None, total_ms=17.0):
    """Return a frame with these times."""
    fields = frame(1).model_dump(by_alias=True)
    fields["time"] |= {
        "sensor_ns": sensor_ns,
        "clock": clock_name,
        "published_ns": clock.monotonic_ns() if published_ns is None else published_ns,
    }
    fields["timing_ms"] |= {"total": total_ms}
    return FrameMessage.model_validate(fields)


def turn_until(service, wanted):
    deadline_ns = clock.monotonic_ns() + round(HANG_S * SECOND)
    while not wanted():
        assert clock.monotonic_ns() < deadline_ns
        service.turn()


def test_a_sensor_on_the_monotonic_clock_needs_no_conversion():
    times = DeviceTimes("edge", None)
    sensor_ns = clock.monotonic_ns() - 30 * MS
    assert times.of_frame(taken(sensor_ns)) == sensor_ns
    assert times.error_ns() == 0


def test_boot_time_is_ahead_by_what_the_machine_slept(monkeypatch):
    monkeypatch.setattr("edge.lsl.times.boottime_minus_monotonic_ns", lambda: 900 * SECOND)
    sensor_ns = clock.monotonic_ns() + 900 * SECOND - 30 * MS
    at_ns = DeviceTimes("edge", None).of_frame(taken(sensor_ns, "boottime"))
    assert at_ns == pytest.approx(sensor_ns - 900 * SECOND, abs=5 * MS)


def test_a_file_keeps_its_own_distances():
    times = DeviceTimes("edge", None)
    now_ns = clock.monotonic_ns()
    first = times.of_frame(taken(7 * SECOND, "media", published_ns=now_ns))
    assert first == now_ns - 17 * MS
    late = taken(8 * SECOND, "media", published_ns=now_ns + SECOND + 300 * MS)
    assert times.of_frame(late) == first + SECOND
    assert times.replaced == 0


def test_a_file_that_is_read_too_fast_is_placed_anew():
    times = DeviceTimes("edge", None)
    now_ns = clock.monotonic_ns()
    times.of_frame(taken(0, "media", published_ns=now_ns))
    assert times.of_frame(taken(60 * SECOND, "media", published_ns=now_ns)) == now_ns - 17 * MS
    assert times.replaced == 1
    times.begin()
    assert times.of_frame(taken(0, "media", published_ns=now_ns)) == now_ns - 17 * MS
    assert times.replaced == 1


def test_the_clock_of_another_machine_is_noticed():
    now_ns = clock.monotonic_ns()
    strange = taken(now_ns - 500 * SECOND, published_ns=now_ns - 500 * SECOND)
    with pytest.raises(ConfigError, match=r"edge: its clock is 500 s off .*expected --service"):
        DeviceTimes("edge", None).of_frame(strange)


def test_nothing_is_placed_before_the_clock_was_measured(tmp_path):
    with ServiceClock(f"ipc://{tmp_path}/none") as service:
        times = DeviceTimes("edge", service)
        assert times.of_event(event(1)) is None
        assert times.error_ns() is None
        started_ns = clock.monotonic_ns()
        service.turn()
        assert service.unanswered == 1
        service.turn()
        assert service.unanswered == 1, "not yet again"
        assert clock.elapsed_ms(started_ns) < 5000


def test_a_daemon_on_this_machine_has_its_clock(tmp_path):
    left, right = "[[0, 0], [0.5, 0], [0, 1]]", "[[1, 0], [0.6, 1], [1, 1]]"
    zones = f"left = {{ polygon = {left} }}, right = {{ polygon = {right} }}"
    seats = ("--set", f"zones.seats={{ {zones} }}")
    with (
        RunningDaemon(tmp_path, *LIVE, *seats, module=SYNTHETIC) as daemon,
        ServiceClock(daemon.service) as service,
    ):
        daemon.wait_for_frame()
        turn_until(service, lambda: service.offset_ns() is not None)
        assert service.device == "chamber-1"
        assert service.seats == ("left", "right")
        offset_ns, bound_ns = service.offset_ns()
        assert abs(offset_ns) <= bound_ns
        assert service.is_ours()
        service.restart()
        turn_until(service, service.is_ours)


def test_a_late_reply_is_not_taken_for_the_next_one(tmp_path):
    """It would look like a short round trip with a wrong offset."""
    endpoint = f"ipc://{tmp_path}/late"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint)
        with ServiceClock(endpoint) as service:
            service.turn()  # waits, and gives up
            peer, empty, _ = router.recv_multipart()
            clocks = {"monotonic_ns": clock.monotonic_ns(), "unix_ns": clock.wall_ns()}
            late = {"ok": True, "status": {"device": "x"}, "received": clocks, "sent": clocks}
            router.send_multipart([peer, empty, json.dumps(late).encode()])
            service.restart()
            assert service.device is None
            assert service.offset_ns() is None


CLOCKS = {"monotonic_ns": 1, "unix_ns": 1}
DAEMON = {"ok": True, "status": {"device": "x"}, "seats": {}, "received": CLOCKS, "sent": CLOCKS}


@pytest.mark.parametrize(
    "reply",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"ok": true}',
        b'{"ok": true, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        *(
            json.dumps(DAEMON | changed).encode()
            for changed in (
                {"status": {"device": 5}},
                {"seats": 5},
                {"received": 5},
                {"sent": CLOCKS | {"monotonic_ns": 10**30}},
                {"sent": CLOCKS | {"unix_ns": float("inf")}},
                {"ok": False, "code": "busy"},
                {"ok": False, "error": "busy"},
            )
        ),
    ],
)
def test_what_is_no_daemon_measures_nothing(tmp_path, reply):
    endpoint = f"ipc://{tmp_path}/strange"
    stopped = threading.Event()

    def answer():
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.bind(endpoint)
            while not stopped.is_set():
                if router.poll(20):
                    peer, empty, request = router.recv_multipart()
                    assert json.loads(request)["request"] in ("status", "time")
                    router.send_multipart([peer, empty, reply])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with ServiceClock(endpoint) as service:
            wait_until(lambda: os.path.exists(endpoint.removeprefix("ipc://")))
            service.turn()
            assert service.offset_ns() is None
            assert not service.is_ours()
    finally:
        stopped.set()
        thread.join()
