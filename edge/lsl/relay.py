"""The loop of ``affect-edge lsl``: messages of daemons into streams."""

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge.client import Received, Subscriber
from edge.clock import elapsed_ms, monotonic_ns
from edge.config import is_local
from edge.errors import ConfigError, StreamUnavailable
from edge.lsl.confine import confine, ports_in_words
from edge.lsl.interface import Interface
from edge.lsl.library import clock_offset_ns
from edge.lsl.markers import marker, marker_of
from edge.lsl.outlets import MARKERS, DeviceOutlets
from edge.lsl.places import Places
from edge.lsl.service_clock import ServiceClock
from edge.lsl.times import DeviceTimes
from edge.protocol.messages import EventMessage, FrameMessage, Message, StatusMessage
from edge.protocol.participant_events import ParticipantReleased
from edge.tools.silence import SilenceNotice

_CONSUMERS_MS: Final = 1000.0
_DEVICES_MAX: Final = 64
_WAITING_MAX: Final = 1000  # events and gaps whose time is not known yet
_MODELS_MS: Final = 20_000.0
_ANSWERS: Final = 3  # a second apart


class DeviceRelay:
    """Relays the messages of one device. Not thread-safe.

    Attributes:
        outlets: its streams.
        missed: numbered messages that did not arrive: live streams are never filled up afterwards.
        early: frames and events that came before their time was known, and were not sent later.
    """

    def __init__(
        self, outlets: DeviceOutlets, places: Places, times: DeviceTimes, lsl_offset_ns: int
    ) -> None:
        self.outlets = outlets
        self.missed = self.early = 0
        self._places = places
        self._times = times
        self._lsl_offset_ns = lsl_offset_ns
        self._run: tuple[str, int] | None = None
        self._status: StatusMessage | None = None
        self._left_out = 0
        self._waiting: deque[Received] = deque()
        self._is_told = False  # that a file's time stamps jump

    def note(self, received: Received, report: Callable[[str], None]) -> None:
        """Push a frame or an event, and the gaps before it, which a status shows, too.

        While the clock is measured anew, as after a restart of the daemon, events and gaps wait;
        frames are left out.
        """
        message = received.message
        if received.late:
            return
        if self._run != (message.stream, message.epoch):
            if self._run is not None:
                self._times.begin()
                self._places.begin()
                self._drop_waiting(len(self._waiting))  # the clock of their run is gone
            self._run = message.stream, message.epoch
        for gap in received.gaps:
            self.missed += gap.missing
            report(f"{message.device}: {gap.describe()}; LSL is live only, they are not sent later")
        if isinstance(message, StatusMessage):
            self._status = message
        elif isinstance(message, EventMessage) and message.event == ParticipantReleased.event:
            self._places.release(str(message.detail.get("participant")))
        at_s = self._time_of(message)
        if at_s is None:
            self._wait(received)
            return
        while self._waiting:
            earlier = self._waiting.popleft()
            self._push_markers(earlier, self._time_of(earlier.message) or at_s)
        self._push_markers(received, at_s)
        if isinstance(message, FrameMessage):
            self._push_frame(message, at_s, report)

    def _time_of(self, message: Message) -> float | None:
        """Return when a message was taken, happened or was sent; None: not known yet."""
        if isinstance(message, FrameMessage):
            return self._at_s(self._times.of_frame(message))
        return self._at_s(self._times.of_event(message))

    def _wait(self, received: Received) -> None:
        self.early += isinstance(received.message, FrameMessage)
        if received.gaps or isinstance(received.message, EventMessage):
            self._waiting.append(received)
            self._drop_waiting(len(self._waiting) - _WAITING_MAX)

    def _drop_waiting(self, count: int) -> None:
        for _ in range(count):
            self.early += isinstance(self._waiting.popleft().message, EventMessage)

    def _push_markers(self, received: Received, at_s: float) -> None:
        message = received.message
        for gap in received.gaps:
            self.outlets.push_marker(marker("gap", gap.record(message.device)), at_s)
        if isinstance(message, EventMessage):
            self.outlets.push_marker(marker_of(message), at_s)

    def push_state(self) -> None:
        """Push markers that say which run and session this is, and who is in each place.

        For a recorder that came later than the events that said so.
        """
        if self._status is None:
            return
        session = self._status.session
        state = {
            "stream": self._status.stream,
            "epoch": self._status.epoch,
            "session": session and session.name,
        }
        at_s = (monotonic_ns() + self._lsl_offset_ns) / 1e9
        self.outlets.push_marker(marker("state", state), at_s)
        for occupation in self._places.occupations():
            self.outlets.push_occupation(occupation, at_s)

    def _push_frame(
        self, message: FrameMessage, at_s: float, report: Callable[[str], None]
    ) -> None:
        if self._times.replaced and not self._is_told:
            self._is_told = True
            report(
                f"{message.device}: the file is read faster or slower than it plays: its time"
                " stamps jump"
            )
        faces, changes = self._places.place(message.faces, message.time.published_ns)
        for change in changes:
            self.outlets.push_occupation(change, at_s)
        self.outlets.push_faces(faces, message.seq, at_s)
        left_out, self._left_out = self._left_out, self._places.left_out
        if self._left_out and not left_out:
            report(
                f"{message.device}: {len(message.faces)} faces, and no stream for"
                f" {self._left_out} of them; --faces sets their number"
            )

    def _at_s(self, local_ns: int | None) -> float | None:
        return None if local_ns is None else (local_ns + self._lsl_offset_ns) / 1e9


class Relay:
    """Relays the messages of any number of daemons. Not thread-safe.

    Args:
        lsl: the module pylsl.
        interface: to which the streams are confined.
        clocks: of the daemons that have a service; of those on other machines, all have.
        faces: affect streams of a device without seats.
        report: takes one line at a change.
    """

    def __init__(
        self,
        lsl: Any,
        interface: Interface,
        clocks: Sequence[ServiceClock],
        faces: int,
        report: Callable[[str], None],
    ) -> None:
        self.devices: dict[str, DeviceRelay] = {}
        self.waiting: Counter[str] = Counter()
        """Frames and events of devices that have no streams yet."""
        self._lsl = lsl
        self._interface = interface
        self._index = interface.index
        self._clocks = clocks
        self._faces = faces
        self._first_ns: dict[str, int] = {}  # when the first status of a device came
        self._report = report
        self._offset_ns, self._offset_error_ns = clock_offset_ns(lsl)

    def note(self, received: Received) -> None:
        """Relay a message; open the streams of a device once a status names its networks.

        Raises:
            ConfigError, StreamUnavailable: the streams cannot be opened, or confined.
        """
        message = received.message
        relay = self.devices.get(message.device)
        if relay is None and isinstance(message, StatusMessage):
            relay = self._open(message)
        if relay is not None:
            relay.note(received, self._report)
        elif not isinstance(message, StatusMessage):
            self.waiting[message.device] += 1

    def report_consumers(self) -> None:
        """Report which streams got their first consumer, or lost their last one.

        The first consumer of the markers gets the present state.
        """
        for device, relay in self.devices.items():
            changed = relay.outlets.consumers_changed()
            if (MARKERS, True) in changed:
                relay.push_state()
            for state, wanted in (("received by a consumer", True), ("without a consumer", False)):
                if names := [name for name, has in changed if has is wanted]:
                    self._report(f"{device}: {', '.join(names)}: {state} now")

    def check_interface(self) -> None:
        """Check that the interface is the one to which the sockets are confined.

        Raises:
            StreamUnavailable: it was removed, and the kernel lets no socket change to the next one.
        """
        if self._interface.index != self._index:
            raise StreamUnavailable(
                f"the interface {self._interface} was removed, and nobody reaches the streams any"
                " more; start again when it is back"
            )

    def close(self) -> None:
        """Close all streams."""
        for relay in self.devices.values():
            relay.outlets.close()

    def _open(self, status: StatusMessage) -> DeviceRelay | None:
        clock = next((each for each in self._clocks if each.device == status.device), None)
        if clock is None and any(map(_may_answer, self._clocks)):
            return None
        first_ns = self._first_ns.setdefault(status.device, monotonic_ns())
        if status.models is None and elapsed_ms(first_ns) < _MODELS_MS:
            return None  # the worker is starting; metadata cannot be added later
        if len(self.devices) >= _DEVICES_MAX:
            return None
        # behind a tunnel, another machine has an address of this one
        is_ours = clock is None or (is_local(clock.endpoint) and clock.is_ours())
        times = DeviceTimes(status.device, None if is_ours else clock)
        error_ns = times.error_ns()
        if error_ns is None:
            return None
        error_us = max(1.0, (error_ns + self._offset_error_ns) / 1e3)
        source = "the monotonic clock of this machine" if is_ours else "measured over the service"
        places = Places(() if clock is None else clock.seats, self._faces)
        words = f"sensor clock, {source}, error at most {error_us:.0f} us at the beginning"
        outlets = DeviceOutlets(self._lsl, status, places.names, words)
        ports = confine(self._interface)
        relay = self.devices[status.device] = DeviceRelay(outlets, places, times, self._offset_ns)
        self._report(
            f"{status.device}: {len(places.names)} affect streams ({', '.join(places.names)}) and"
            f" one of markers; time stamps: {words}"
        )
        self._report(
            f"listening on {self._interface} only: {ports_in_words(ports)}; whoever reaches it may"
            " receive, liblsl asks nobody for a key"
        )
        return relay


def _may_answer(clock: ServiceClock) -> bool:
    """Return whether a service that has not answered may be that of any device.

    A daemon on this machine may have none; one on another machine is useless without.
    """
    patience = clock.unanswered < _ANSWERS or not is_local(clock.endpoint)
    return clock.device is None and patience


def check_services(endpoints: Sequence[str], services: Sequence[str]) -> None:
    """Check that daemons on other machines can be asked for their clocks.

    Raises:
        ConfigError: an address of another machine, and fewer services than addresses.
    """
    remote = [endpoint for endpoint in endpoints if not is_local(endpoint)]
    if remote and len(services) < len(endpoints):
        raise ConfigError(
            f"--connect {remote[0]}: a daemon on another machine; expected --service for each"
            " --connect, to measure its clock against this machine's"
        )


def run_lsl(
    lsl: Any,
    interface: Interface,
    endpoints: Sequence[str],
    services: Sequence[str],
    *,
    faces: int,
    device: str | None,
    stop: Callable[[], bool],
    report: Callable[[str], None],
) -> None:
    """Offer the messages of daemons as streams until ``stop`` returns true.

    Args:
        lsl: the module pylsl, as ``edge.lsl.library.load`` returns it.
        interface: to which the streams are confined.
        endpoints: where the daemons publish.
        services: where they answer, to measure their clocks and to learn their seats.
        faces: affect streams of a device without seats.
        device: only this one; None: all.
        stop: called at least five times a second.
        report: takes one line at a change.

    Raises:
        ConfigError: an address is wrong, or the streams cannot be confined.
        StreamUnavailable: liblsl makes no stream, or the interface was removed.
    """
    check_services(endpoints, services)
    with contextlib.ExitStack() as stack:
        clocks = [stack.enter_context(ServiceClock(each)) for each in services]
        subscriber = stack.enter_context(Subscriber(endpoints, device=device))
        relay = Relay(lsl, interface, clocks, faces, report)
        stack.callback(relay.close)
        silence = SilenceNotice(endpoints, report, device)
        looked_ns = monotonic_ns()
        while not stop():
            for clock in clocks:
                clock.turn()
            silence.turn()
            received = subscriber.receive(timeout_s=0.2)
            if received is not None:
                silence.note(received.message)
                relay.note(received)
            else:
                silence.check()
            if elapsed_ms(looked_ns) >= _CONSUMERS_MS:
                looked_ns = monotonic_ns()
                relay.report_consumers()
                relay.check_interface()
        for name, each in relay.devices.items():
            report(
                f"{name}: {each.outlets.samples} samples in each affect stream,"
                f" {each.outlets.markers} markers; {each.missed} messages missed,"
                f" {each.early + relay.waiting[name]} before the streams began, or while its clock"
                " was measured"
            )
