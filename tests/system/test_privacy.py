"""No command connects to another machine, or leaves a file that the documents do not name.

Some libraries send telemetry: onnxruntime 1.32 opens a TLS connection ten seconds after it is
loaded, and stores a device id in the user's cache folder when it loads its first model.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, ROOT

TRAP = ROOT / "tests/support/packet_trap.py"
CHOICES = ".cache/affect-edge/artifact-choices.json"  # docs/performance.md
EDGE = f"{sys.executable} -P -m edge"
SECONDS = 14  # onnxruntime 1.32 opens its connection after about 10

SERVICE = f"""
run() {{ timeout --signal=INT {SECONDS} {EDGE} "$@" || test $? = 124; }}
run run --source demo {" ".join(f"'{word}'" for word in PURPOSE)} &
run tail &
run log --out table.csv &
sleep 6
{EDGE} mark "door open"
{EDGE} participant list
wait
"""


def unshare() -> list[str]:
    """Return the command prefix for a network namespace; skip without permission for one."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("no unshare or no ip: util-linux and iproute2 are needed")
    for words in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        made = subprocess.run(
            [*words, "ip", "link", "add", "trap", "type", "veth", "peer", "name", "sink"],
            capture_output=True,
            check=False,
        )
        if made.returncode == 0:
            return words
    pytest.skip("this user may not create a network namespace with an interface")


def trapped(folder: Path, command: list[str]) -> tuple[list[str], set[str], str]:
    """Run ``command`` in the trap.

    Returns:
        its connection attempts, the files it left in ``folder``, and its standard error.
    """
    names = {"HOME": folder, "TMPDIR": folder / "tmp", "PYTHONPATH": ROOT}
    (folder / "tmp").mkdir()
    dropped = ("XDG_", "ORT_", "STATE_DIRECTORY")  # variables that CI may set
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    process = subprocess.run(
        [*unshare(), sys.executable, str(TRAP), *command],
        cwd=folder,
        env={**environment, **{name: str(path) for name, path in names.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return process.stdout.splitlines(), left, process.stderr


def test_the_trap_reports_connections_and_dns_queries(tmp_path: Path) -> None:
    """A trap that reports nothing would let every other test here pass."""
    code = (
        "import socket\n"
        "for kind, address in ((1, '192.0.2.1'), (2, '2001:db8:1::1')):\n"
        "    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n"
        "    with socket.socket(family, kind) as one:\n"
        "        one.setblocking(False)\n"
        "        one.connect_ex((address, 443))\n"
        "        if kind == 2: one.send(b'x')\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:\n"
        "    local.sendto(b'x', ('127.0.0.53', 53))\n"
        "    local.sendto(b'x', ('127.0.0.1', 5555))\n"
    )
    attempts, _, _ = trapped(tmp_path, [sys.executable, "-c", code])
    assert attempts == ["TCP 192.0.2.1:443", "UDP 2001:db8:1::1:443", "UDP 127.0.0.53:53"]


def test_the_daemon_and_its_clients_open_no_connection(tmp_path: Path) -> None:
    attempts, left, output = trapped(tmp_path, ["bash", "-euc", SERVICE])
    assert attempts == []
    assert left == {CHOICES, "table.csv", "table.csv.cursors", "table.events.csv"}, output
    assert (tmp_path / "table.csv").read_text().count("\n") > 50, (
        output
    )  # the clients received messages


COMMANDS = {
    "check": [*EDGE.split(), "check"],
    "models": [*EDGE.split(), "models", "verify"],
    "schema": [*EDGE.split(), "schema"],
    "demo": [*EDGE.split(), "demo"],
    "aim": [*EDGE.split(), "aim", "--source", "demo", "--set", "source.rate_hz=4", "--once"],
    "bench": [
        *(sys.executable, "-P", "-m", "benchmarks", "fps", "--source", "demo", "--frames", "60"),
        *("--in-memory", "--baseline"),
    ],
    "compare": [
        *(sys.executable, "-P", "-m", "benchmarks", "fps", "--source", "demo", "--frames", "10"),
        *("--in-memory", "--compare", str(ROOT)),
    ],
    "annotate": [
        *(*EDGE.split(), "annotate", str(DEMO_CLIP), "made/out.mp4", "--purpose", "medical"),
        *("--end", "1s"),
    ],
    "exporters": [
        *(sys.executable, "-P", "-m", "exporters", "centerface", "--size", "320x192"),
        *("--weights", str(ROOT / "models/centerface-published/centerface.onnx")),
        *("--out", "made", "--formats", "onnx", "--precisions", "fp32"),
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_other_commands_open_no_connection(tmp_path: Path, name: str) -> None:
    (tmp_path / "made").mkdir()
    attempts, left, output = trapped(tmp_path, COMMANDS[name])
    assert attempts == []
    assert {file for file in left if not file.startswith("made/")} <= {CHOICES}, output
