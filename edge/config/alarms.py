"""The section ``[alarms]``: for how long something may be wrong, and who is informed."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from edge.config.network import FilePath, is_loopback
from edge.config.section import Section
from edge.vocabulary import AlarmRule

WEEK_S = 604_800.0

AfterSeconds = Annotated[float, Field(ge=0, le=WEEK_S)]
"""For how long the cause lasts before the alarm is raised; 0 turns the rule off."""


class AlarmsConfig(Section):
    """For how long each cause lasts before its alarm is raised; 0: never.

    ``webhook_url`` receives each alarm that is raised or cleared; empty: nobody does.
    """

    eyes_closed_s: AfterSeconds = 60.0
    not_read_s: AfterSeconds = 30.0
    participant_gone_s: AfterSeconds = 60.0
    source_s: AfterSeconds = 10.0
    picture_s: AfterSeconds = 10.0
    storage_s: AfterSeconds = 30.0
    clock_s: AfterSeconds = 300.0
    board_s: AfterSeconds = 60.0
    no_logger_s: AfterSeconds = 600.0
    clear_s: float = Field(5.0, ge=1, le=3600)
    webhook_url: str = ""
    webhook_token_file: FilePath = ""
    webhook_ca_file: FilePath = ""

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value:
            return value
        expected = "expected https://HOST/PATH, http://127.0.0.1:PORT/PATH, or an empty string"
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(expected) from None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise ValueError(expected)
        if not value.isascii() or not value.isprintable() or " " in value or parts.fragment:
            raise ValueError(f"{expected}, without white space and #")
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "expected no user and password in the address; use alarms.webhook_token_file"
            )
        name = f"[{host}]" if ":" in host else host
        if parts.scheme == "http" and not is_loopback(f"{name}:80"):
            raise ValueError(
                "http:// beyond this machine sends codes and token unencrypted; expected https://"
            )
        return value

    def mistake(self) -> str:
        """Return the key that does not fit the others and why; empty if they fit."""
        for key in ("webhook_token_file", "webhook_ca_file"):
            if getattr(self, key) and not self.webhook_url:
                return f"{key}: set without webhook_url; expected both, or neither of them"
        if self.webhook_ca_file and not self.webhook_url.startswith("https://"):
            return "webhook_ca_file: set for an address without TLS; expected https://"
        return ""

    def after_s(self, rule: AlarmRule) -> float:
        """Return for how long the cause of ``rule`` lasts before the alarm; 0: never."""
        seconds: float = getattr(self, f"{rule}_s")
        return seconds
