"""A real MQTT broker, Debian's mosquitto, and a subscriber that keeps its place.

Where it is not installed, root may unpack it somewhere and name the program in
``AFFECT_EDGE_MOSQUITTO`` (with LD_LIBRARY_PATH for its libraries).
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.ports import free_port
from tests.support.postgres import require
from tests.support.waiting import HANG_S


def program() -> str | None:
    """Return the path of mosquitto; None if it is not installed."""
    found = os.environ.get("AFFECT_EDGE_MOSQUITTO") or shutil.which("mosquitto")
    return found or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """A broker in a temporary folder that stores its messages every second.

    Args:
        path: of the program.
        settings: lines of its configuration, beyond the address and the storage.

    Attributes:
        port: on 127.0.0.1.
        folder: of its files; where it runs as another user, that user's.
    """

    def __init__(self, path: str, *settings: str) -> None:
        self._program = path
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="affect-edge-mosquitto-"))
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *settings: str) -> None:
        """Start it, with ``settings`` in place of the first ones if there are any."""
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {'root' if os.geteuid() == 0 else ''}".strip(),
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",  # seconds; less than sys_interval, see docs/logging.md
            "sys_interval 2",
            *(settings or self._settings),
        ]
        if not any(line.startswith("password_file") for line in lines):
            lines.append("allow_anonymous true")
        (self.folder / "conf").write_text("\n".join(line for line in lines if line != "user"))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, "-c", self.folder / "conf"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), HANG_S).close()
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def wait_until_stored(self) -> None:
        """Wait until it has stored what it knows now."""
        stored = self.folder / "mosquitto.db"
        now_ns, deadline = time.time_ns(), time.monotonic() + HANG_S
        # a file's time may lie some milliseconds before the clock; the second one began after now
        while not stored.exists() or stored.stat().st_mtime_ns < now_ns + 1_000_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Kill it and delete its folder."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running_broker(*settings: str) -> Iterator[Mosquitto]:
    """Start a broker for a ``with`` block; skip or fail the test where there is none."""
    path = program()
    require("mosquitto", path)
    assert path is not None
    broker = Mosquitto(path, *settings)
    try:
        yield broker
    finally:
        broker.close()


class PersistentSubscriber:
    """A subscriber whose session the broker keeps: it gets what was published while it was away.

    Attributes:
        topics: of the messages, in the order of their arrival.
        identities: stream, epoch and number of each message.
        payloads: the messages.
    """

    def __init__(self, port: int, topic: str = "#") -> None:
        self._port = port
        self._topic = topic
        self.topics: list[str] = []
        self.identities: list[tuple[str, int, int]] = []
        self.payloads: list[bytes] = []
        self._client: mqtt.Client | None = None

    def connect(self) -> None:
        """Connect, and subscribe."""
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="archive", protocol=mqtt.MQTTv5
        )
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.on_message = self._on_message
        subscribed: list[Any] = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self._client.subscribe(self._topic, qos=1)
        deadline = time.monotonic() + HANG_S
        while not subscribed:
            self._client.loop(0.05)
            assert time.monotonic() < deadline

    def disconnect(self) -> None:
        """Leave; the broker keeps what is published from now on."""
        assert self._client is not None
        self._client.disconnect()
        self._client.loop(0.1)
        self._client = None

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        fields = dict(message.properties.UserProperty)  # type: ignore[attr-defined]
        self.topics.append(message.topic)
        self.identities.append((fields["stream"], int(fields["epoch"]), int(fields["seq"])))
        self.payloads.append(bytes(message.payload))

    def turn(self, timeout_s: float = 0.0) -> None:
        """Receive what has arrived; connect again if the broker went away."""
        for _ in range(50):  # one packet at each call
            before = len(self.identities)
            if self._client is None or self._client.loop(timeout_s) != mqtt.MQTT_ERR_SUCCESS:
                with contextlib.suppress(OSError):
                    self.connect()
                return
            if len(self.identities) == before:
                return
