"""The relay of one device while its clock is measured anew: nothing but frames is left out."""

import json
import threading
from contextlib import contextmanager

import zmq

from edge import clock
from edge.client import Gap, Received
from edge.lsl.places import Places
from edge.lsl.relay import DeviceRelay
from edge.lsl.service_clock import ServiceClock
from edge.lsl.times import DeviceTimes
from edge.protocol.messages import FrameMessage
from tests.support.waiting import wait_until
from tests.support.wire import event, face, frame

SECOND = 1_000_000_000


class Outlets:
    """Keeps what is pushed."""

    def __init__(self):
        self.pushed = []
        self.faces = []

    def push_marker(self, text, at_s):
        self.pushed.append((text, at_s))

    def push_occupation(self, occupation, at_s):
        pass

    def push_faces(self, faces, seq, at_s):
        self.faces.append([each and each.track for each in faces])

    def of(self, name):
        found = [json.loads(text) for text, _ in self.pushed if text.startswith("{")]
        return [each for each in found if each["event"] == name]


@contextmanager
def service(endpoint):
    """A service whose answers can be withheld; its clock is this machine's."""
    answers, is_over = threading.Event(), threading.Event()
    answers.set()

    def serve():
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.bind(endpoint)
            while not is_over.is_set():
                if not router.poll(20):
                    continue
                peer, empty, _ = router.recv_multipart()
                read = {"monotonic_ns": clock.monotonic_ns(), "unix_ns": clock.wall_ns()}
                reply = {"ok": True, "status": {"device": "edge"}, "seats": {}}
                reply |= {"received": read, "sent": read}
                if answers.is_set():
                    router.send_multipart([peer, empty, json.dumps(reply).encode()])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join()


def received(message, gap=None):
    return Received(message, b"", gap, late=False)


def later(message, after_ns):
    """Return the message with times of the present."""
    now_ns = clock.monotonic_ns() + after_ns
    fields = message.model_dump(by_alias=True)
    is_frame = isinstance(message, FrameMessage)
    names = ("sensor_ns", "published_ns") if is_frame else ("monotonic_ns",)
    fields["time"] |= dict.fromkeys(names, now_ns)
    return type(message).model_validate(fields)


def test_gaps_releases_and_marks_outlast_a_restart(tmp_path):
    endpoint, lines, outlets = f"ipc://{tmp_path}/service", [], Outlets()
    with service(endpoint) as answers, ServiceClock(endpoint) as measured:
        wait_until(lambda: measured.turn() or measured.offset_ns() is not None)
        relay = DeviceRelay(outlets, Places((), 1), DeviceTimes("edge", measured), 0)
        p07 = face(4) | {"participant": "P07"}
        relay.note(received(later(frame(1, p07), 0)), lines.append)
        assert outlets.faces == [[4]]

        answers.clear()  # the daemon was restarted, and does not answer yet
        gap = Gap("s", 2, 3, 5)
        relay.note(received(later(frame(6, epoch=2), 0), gap), lines.append)
        release = event(7, "participant_released", {"participant": "P07"}, epoch=2)
        mark = later(event(8, "mark", {"text": "door"}, epoch=2), -SECOND)
        for each in (release, mark):
            relay.note(received(each), lines.append)
        assert (relay.missed, relay.early, outlets.pushed) == (3, 1, [])
        assert "3 messages missing" in lines[0]

        answers.set()
        wait_until(lambda: measured.restart() or measured.offset_ns() is not None)
        relay.note(received(later(frame(9, face(5), epoch=2), 0)), lines.append)
    (lost,) = outlets.of("gap")
    assert (lost["first_missing"], lost["last_missing"]) == (3, 5)
    assert outlets.of("participant_released")
    assert outlets.faces[1:] == [[5]], "P07's place is free for another face"
    (at_s,) = [at_s for text, at_s in outlets.pushed if text == "door"]
    assert abs(at_s - mark.time.monotonic_ns / 1e9) < 0.1
    assert (relay.missed, relay.early) == (3, 1)
