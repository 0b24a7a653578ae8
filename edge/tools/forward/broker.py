"""A connection to an MQTT 5 broker: publishes with QoS 1 and reports what the broker answers."""

import os
import ssl
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from edge.clock import monotonic_ns
from edge.errors import BrokerUnavailable, ConfigError
from edge.files.private import read_small_file
from edge.files.regular import refuse_special
from edge.tools.forward.outbox import Outgoing

try:
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError as error:
    raise ConfigError(
        f"forward needs paho-mqtt ({error}); install it: pip install 'affect-edge[forward]'"
    ) from error

_PASSWORD: Final = "expected one line, the password"
PASSWORD_VARIABLE: Final = "AFFECT_EDGE_MQTT_PASSWORD"

IN_FLIGHT: Final = 100
"""Messages that may be sent and not acknowledged; a broker may ask for fewer."""

_CONNECT_S: Final = 5.0
_KEEPALIVE_S: Final = 15
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_DROPPED: Final = "$SYS/broker/publish/messages/dropped"
_UPTIME: Final = "$SYS/broker/uptime"

_UNSUPPORTED: Final = 0x84
_BUSY: Final = frozenset([0x80, 0x83, 0x88, 0x89, 0x91, 0x93, 0x97, 0x9C, 0x9D, 0x9F])
"""Reason codes that pass: unspecified, implementation specific, unavailable, busy, identifier in
use, receive maximum, quota exceeded, another server, rate exceeded. All others need a change."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where to publish.

    Attributes:
        host: name or address.
        port: TCP port.
        uses_tls: whether the connection is encrypted.
        prefix: first levels of every topic, with a slash at the end, or empty.
        user: name to log in with; None: none.
    """

    host: str
    port: int
    uses_tls: bool
    prefix: str
    user: str | None

    @property
    def shown(self) -> str:
        """The address without the user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' * self.uses_tls}://{host}:{self.port}/{self.prefix.rstrip('/')}"

    @classmethod
    def parse(cls, url: str) -> "BrokerAddress":
        """Return the address in ``mqtt://[USER@]HOST[:PORT][/PREFIX]``; ``mqtts`` for TLS.

        Raises:
            ConfigError: it is not such an address, or has a password in it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError("--to: expected mqtt:// or mqtts://, and USER@HOST:PORT/PREFIX")
        if parts.password is not None:
            raise ConfigError(
                "--to: a password on the command line is readable by every user of this machine;"
                f" set {PASSWORD_VARIABLE}, or name a file with --password-file"
            )
        prefix = unquote(parts.path).strip("/")
        if any(each in prefix for each in "+#\0") or prefix.startswith("$"):
            raise ConfigError(f"--to: prefix {prefix!r}: a topic has no +, # or $ in it")
        return cls(
            parts.hostname,
            port or _PORTS[parts.scheme],
            parts.scheme == "mqtts",
            f"{prefix}/" if prefix else "",
            unquote(parts.username) if parts.username else None,
        )


def read_password(file: Path | None) -> str | None:
    """Return the password in a file, or in the environment; None if there is none.

    Raises:
        ConfigError: the file cannot be read, or other users can read it.
    """
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE) or None
    content = read_small_file(file, "--password-file", private=True, remedy=_PASSWORD)
    try:
        return content.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--password-file {file}: {error}; {_PASSWORD}") from error


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return the settings for TLS: the server's certificate and name are always checked.

    Raises:
        ConfigError: the file with the certificate authority cannot be used.
    """
    try:
        if ca is not None:
            refuse_special(ca)
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise ConfigError(
            f"--ca {ca}: {error.strerror}; expected certificates in PEM form"
        ) from error


@dataclass(slots=True)
class Answers:
    """What the broker has said since the last call.

    Attributes:
        acknowledged: packet identifiers of its PUBACKs.
        refused: why it refused a packet for now; empty if it did not.
        intervals: how many reporting intervals of the broker have begun.
        dropped: messages for its subscribers that it reports as dropped for lack of space.
        reports_drops: whether this broker reports them at all.
    """

    acknowledged: list[int] = field(default_factory=list)
    refused: str = ""
    intervals: int = 0
    dropped: int = 0
    reports_drops: bool = False


class Broker:
    """One connection; after ``BrokerUnavailable``, make another one. Not thread-safe.

    Args:
        address: of the broker.
        password: for the address's user; None: none.
        tls: settings where the address uses TLS.

    Raises:
        ConfigError: the broker refuses this user, client or protocol.
        BrokerUnavailable: it cannot be reached now.
    """

    def __init__(
        self, address: BrokerAddress, password: str | None, tls: ssl.SSLContext | None
    ) -> None:
        self._shown = address.shown
        self._answers = Answers()
        self._failures: deque[ConfigError | BrokerUnavailable] = deque()
        self._is_connected = False
        self._dropped: int | None = None
        self._reports_drops = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        self._client.connect_timeout = _CONNECT_S
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.username_pw_set(address.user, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self.in_flight = IN_FLIGHT
        try:
            self._client.connect(address.host, address.port, keepalive=_KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"{self._shown}: {error.verify_message}; name the certificate authority with --ca"
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BrokerUnavailable(f"{self._shown}: {reason}") from error
        try:
            deadline_ns = monotonic_ns() + int(_CONNECT_S * 1e9)
            while not self._is_connected:
                self._turn(0.1)
                if monotonic_ns() > deadline_ns:
                    raise BrokerUnavailable(f"{self._shown}: it does not answer as a broker does")
        except (ConfigError, BrokerUnavailable):
            self.close()
            raise

    def publish(self, message: Outgoing) -> int:
        """Send a message with its identity as user properties; return the packet identifier."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = 1  # UTF-8
        properties.ContentType = "application/json"
        identity = message.identity
        properties.UserProperty = [
            ("stream", identity.stream),
            ("epoch", str(identity.epoch)),
            ("seq", str(identity.seq)),
        ]
        sent = self._client.publish(message.topic, message.payload, qos=1, properties=properties)
        return sent.mid

    def turn(self, timeout_s: float) -> Answers:
        """Send and receive, for ``timeout_s`` at most if there is nothing; return the answers.

        Raises:
            ConfigError: the broker refuses a topic, or this user.
            BrokerUnavailable: the connection is lost.
        """
        self._turn(timeout_s)
        answers, self._answers = self._answers, Answers()
        answers.reports_drops = self._reports_drops
        return answers

    def close(self) -> None:
        """Disconnect; answers that are still to come are not waited for."""
        self._client.disconnect()
        self._client.loop(0.0)

    def _turn(self, timeout_s: float) -> None:
        code = self._client.loop(timeout_s)
        if self._failures:
            raise self._failures.popleft()
        if code != mqtt.MQTT_ERR_SUCCESS:
            raise BrokerUnavailable(f"{self._shown}: {mqtt.error_string(code).rstrip('.')}")

    # -- called by paho within loop ----------------------------------------------------------------

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._failures.append(self._refusal(reason.value, str(reason)))
            return
        self._is_connected = True
        self.in_flight = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        client.subscribe([(_UPTIME, 0), (_DROPPED, 0)])

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure and not self._failures:
            self._failures.append(self._refusal(reason.value, f"disconnected: {reason}"))

    def _on_publish(
        self, _client: mqtt.Client, _data: Any, packet: int, reason: Any, _properties: Any
    ) -> None:
        if not reason.is_failure:
            self._answers.acknowledged.append(packet)
        elif reason.value in _BUSY:
            self._answers.refused = str(reason)
        else:
            self._failures.append(self._refusal(reason.value, f"a message: {reason}"))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == _UPTIME:
            self._reports_drops = True  # the stored one comes before the first PUBACK
            self._answers.intervals += not message.retain
        elif message.topic == _DROPPED and message.payload.isdigit():
            dropped = int(message.payload)
            known, self._dropped = self._dropped, dropped
            self._answers.dropped += 0 if known is None else max(0, dropped - known)

    def _refusal(self, code: int, text: str) -> ConfigError | BrokerUnavailable:
        if code in _BUSY:
            return BrokerUnavailable(f"{self._shown}: {text}")
        remedy = "check the user, the password and the broker's access list"
        if code == _UNSUPPORTED:
            remedy = "expected a broker of MQTT 5"
        return ConfigError(f"{self._shown}: {text}; {remedy}")
