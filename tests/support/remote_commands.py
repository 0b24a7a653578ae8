"""Commands in another system, such as a virtual machine: those that must succeed, or will."""

import time
from abc import ABC, abstractmethod
from typing import ClassVar


class RemoteCommands(ABC):
    """Commands in another system.

    Attributes:
        poll_s: time between two tries of ``wait_for``.
    """

    poll_s: ClassVar[float]

    @abstractmethod
    def run(self, command: str, timeout_s: float = 300) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed."""

    def output(self, command: str, timeout_s: float = 300) -> str:
        """Run a command that must succeed; return its output without the last line's end."""
        code, text = self.run(command, timeout_s)
        assert code == 0, f"{command}: {code}: {text}"
        return text.rstrip("\n")

    def wait_for(self, command: str, timeout_s: float) -> str:
        """Run a command again and again until it succeeds; return its output."""
        deadline = time.monotonic() + timeout_s
        while True:
            code, text = self.run(command)
            if code == 0:
                return text.rstrip("\n")
            assert time.monotonic() < deadline, f"{command}: {code}: {text}"
            time.sleep(self.poll_s)
