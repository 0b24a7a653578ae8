"""Networks of their own for processes of a test: namespaces of the kernel."""

import shutil
import subprocess
from collections.abc import Sequence

import pytest


class Network:
    """A network namespace with a loopback interface; a context manager that ends it.

    As root, or where users may make namespaces; else the test is skipped.

    Attributes:
        prefix: begins a command that runs in it.
    """

    def __init__(self, within: Sequence[str] = ()) -> None:
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("no unshare and nsenter (util-linux)")
        # a user namespace makes it work for users that may make one; within it, its own root does
        flags = "-n" if within else "-rn"
        hold = ["sh", "-c", "ip link set lo up && echo ready && exec cat"]
        self._holder = subprocess.Popen(
            [*within, "unshare", flags, *hold],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            reason = self._holder.communicate()[1]
            pytest.skip(f"no network namespace here: {reason.strip()}")
        self.pid = self._find_pid()
        self.prefix = ("nsenter", "-t", str(self.pid), "-U", "-n", "--preserve-credentials")

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()

    def run(self, *command: str) -> str:
        """Run a command in it; return its output."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def connect(self, other: "Network", ours: str, theirs: str) -> None:
        """Join both by a cable, with an address such as ``10.9.0.1`` at each end."""
        self.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        self.run("ip", "link", "set", "veth1", "netns", str(other.pid))
        for network, device, address in ((self, "veth0", ours), (other, "veth1", theirs)):
            network.run("ip", "address", "add", f"{address}/24", "dev", device)
            network.run("ip", "link", "set", device, "up")

    def _find_pid(self) -> int:
        """Return the process in the namespace: nsenter does not fork, and unshare neither."""
        return self._holder.pid
