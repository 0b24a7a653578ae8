"""Reports that nothing is received: no daemon there, or one that fell silent.

A pause of this process itself (Ctrl-Z) is no silence: what the daemons sent meanwhile waits.
"""

from collections.abc import Callable, Sequence

from edge.clock import elapsed_ms, monotonic_ns
from edge.protocol.events import EpochEnded
from edge.protocol.messages import EventMessage, Message

NOBODY_MS = 5000.0  # a connection to another machine takes a moment
SILENT_MS = 3000.0  # a daemon sends a status each second
PAUSE_MS = 5000.0  # between two turns of a loop that waits for 0.2 s


class SilenceNotice:
    """Reports once if nothing is received at all, and each time that a device falls silent.

    Args:
        endpoints: the addresses that the subscriber connects to.
        report: takes each line.
        device: the only device that is subscribed to; None: all.
    """

    def __init__(
        self, endpoints: Sequence[str], report: Callable[[str], None], device: str | None = None
    ) -> None:
        of_device = "" if device is None else f" of device {device}"
        self._nobody = (
            f"nobody publishes at {', '.join(endpoints)}{of_device} yet; waiting; is a daemon"
            " running there, and is that its publish.endpoint?"
        )
        self._report = report
        self._first_due = True
        self._last_ns = self._turn_ns = monotonic_ns()
        self._devices: dict[str, int] = {}  # when a running device sent its last message
        self._silent: set[str] = set()
        self._ended: dict[str, tuple[str, int]] = {}  # the run that a device has ended

    @property
    def silent_s(self) -> float:
        """Seconds since the last message of any device, or since the start."""
        return elapsed_ms(self._last_ns) / 1e3

    def turn(self) -> None:
        """Note a turn of the loop that receives; report a pause before it of five seconds or more.

        Call it in every turn, before ``note`` and ``check``. Messages that were missed show as a
        gap, or, if the daemon ended meanwhile, as its silence.
        """
        pause_ms = elapsed_ms(self._turn_ns)
        self._turn_ns = monotonic_ns()
        if pause_ms < PAUSE_MS:
            return
        pause_ns = round(pause_ms * 1e6)
        self._last_ns += pause_ns
        self._devices = {device: last_ns + pause_ns for device, last_ns in self._devices.items()}
        self._report(
            f"did nothing for {pause_ms / 1e3:.0f} s (stopped, or held up by the disk); if messages"
            " are missing, the next one shows the gap"
        )

    def note(self, message: Message) -> None:
        """Note that ``message`` was received."""
        self._first_due = False
        self._last_ns = monotonic_ns()
        if message.device in self._silent:
            self._silent.discard(message.device)
            self._report(f"{message.device}: messages are received again")
        if isinstance(message, EventMessage) and message.event == EpochEnded.event:
            self._devices.pop(message.device, None)  # it may be silent now
            self._ended[message.device] = (message.stream, message.epoch)
        elif self._ended.get(message.device) != (message.stream, message.epoch):  # a last status
            self._devices[message.device] = self._last_ns

    def check(self, *, held: int = 0) -> None:
        """Report what is silent; call it only when no message is waiting.

        Args:
            held: messages that were received, and wait for a service: nobody is silent then.
        """
        if held:
            return
        if self._first_due and self.silent_s * 1e3 >= NOBODY_MS:
            self._first_due = False
            self._report(self._nobody)
        for device, last_ns in list(self._devices.items()):
            if elapsed_ms(last_ns) >= SILENT_MS:
                del self._devices[device]
                self._silent.add(device)
                self._report(
                    f"{device}: nothing received for {SILENT_MS / 1e3:g} s; has the daemon ended,"
                    " or the connection been cut?"
                )
