"""The daemon under the system call filter of its service file, without systemd.

The test builds the filter with libseccomp, as systemd does, from the unit's lines and systemd's
groups of system calls. The kernel enforces MemoryDenyWriteExecute=.
"""

import ctypes.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import ROOT

UNIT = ROOT / "systemd/affect-edge.service"
# systemd.exec(5): always allowed
IMPLICIT = {"@default", "execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}

UNDER_THE_FILTER = """
import ctypes, ctypes.util, errno, os, sys
library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
library.seccomp_init.restype = ctypes.c_void_p
library.seccomp_init.argtypes = [ctypes.c_uint32]
library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
library.seccomp_load.argtypes = [ctypes.c_void_p]
filter = library.seccomp_init(0x00050000 | errno.EPERM)  # other calls fail with EPERM
for name in open(sys.argv[1]).read().split():
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:  # else a call of another architecture
        assert library.seccomp_rule_add(filter, 0x7FFF0000, number, 0) == 0, name
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE; not in kernels before 6.3
assert library.seccomp_load(filter) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None,
    reason="no systemd-analyze or libseccomp on this machine",
)


def groups() -> dict[str, set[str]]:
    """Return systemd's groups of system calls, with the members of each."""
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, set[str]] = {}
    name = ""
    for line in listing.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = set()
        elif re.fullmatch(r"\s+@?[a-z_0-9-]+", line) and name:
            found[name].add(line.strip())
    return found


def allowed(unit: str) -> set[str]:
    """Return the system calls that the unit allows."""
    known = groups()

    def expand(names: set[str]) -> set[str]:
        return set().union(*(expand(known[n]) if n.startswith("@") else {n} for n in names))

    calls: set[str] = expand(IMPLICIT)
    for line in re.findall(r"(?m)^SystemCallFilter=(.+)$", unit):
        names = expand(set(line.removeprefix("~").split()))
        calls = calls - names if line.startswith("~") else calls | names
    return calls


def run_demo(folder: Path, unit: str) -> "subprocess.CompletedProcess[str]":
    """Run the daemon over the bundled clip under the unit's filter."""
    names = folder / "allowed"
    names.write_text("\n".join(sorted(allowed(unit))))
    return subprocess.run(
        [
            *(sys.executable, "-c", UNDER_THE_FILTER, names),
            *(sys.executable, "-m", "edge", "run", "--source", "demo", "--no-pace"),
            *("--set", f'publish.endpoint="ipc://{folder}/live"'),
            *("--set", f'publish.service_endpoint="ipc://{folder}/service"'),
            *("--set", f'journal.path="{folder}/journal"', "--set", 'metrics.address=""'),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_daemon_works_under_the_units_filter(tmp_path: Path) -> None:
    done = run_demo(tmp_path, UNIT.read_text())
    assert done.returncode == 0, done.stderr
    assert "source running" in done.stderr
    assert "lost" not in done.stderr


def test_without_sched_setscheduler_the_daemon_fails(tmp_path: Path) -> None:
    """ZeroMQ aborts the process where its threads may not set their scheduling."""
    unit = UNIT.read_text()
    without = unit.replace("\nSystemCallFilter=sched_setscheduler\n", "\n")
    assert without != unit
    assert run_demo(tmp_path, without).returncode != 0
