"""Two chambers and a logging machine, each a Debian root, as Ansible reaches them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.daemons import ROOT
from tests.support.debian_root import (
    ALONE,
    BACKGROUND,
    CACHE,
    CLEAN,
    ENTER,
    DebianRoot,
    debian_cache,
)
from tests.support.postgres import require

ANSIBLE = ROOT / ".venv-ansible/bin"
PLAYBOOK = ROOT / "deploy/ansible"
SEAT = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
HOSTS = {"chamber-1": "192.168.7.21", "chamber-2": "192.168.7.22", "log-1": "192.168.7.10"}

# As Debian's package has it, without its comments.
_PROMETHEUS = """\
global:
  scrape_interval:     15s
  evaluation_interval: 15s

rule_files:
  # - "first_rules.yml"

scrape_configs:
  - job_name: 'prometheus'
    static_configs:
      - targets: ['localhost:9090']
"""

# In place of ssh: the last two words are the host and its command; the host is a root.
_SSH = """\
#!/bin/sh
for word; do host=$command command=$word; done
root={folder}/$host/root
[ -d "$root" ] || exit 255
exec {clean} {alone} sh -c "$(cat {folder}/enter)" "$root" /bin/sh -c "$command"
"""


def ansible(name: str, *arguments: str | Path, **environment: str) -> str:
    """Run a program of Ansible to its end; return what it printed. Skip the test without it.

    Raises:
        AssertionError: it failed.
    """
    require("ansible", (ANSIBLE / name).exists(), f"{name} (make setup-ansible)")
    done = subprocess.run(
        [*BACKGROUND, ANSIBLE / name, *arguments],
        cwd=PLAYBOOK,
        env={
            **os.environ, "PATH": f"{ANSIBLE}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_LOCALHOST_WARNING": "0", **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


class AnsibleFleet:
    """The hosts of ``HOSTS``, with the wheels of affect-edge on the controlling machine.

    Attributes:
        roots: by name of the host.
        variables: of all hosts; a test may change them.
    """

    def __init__(self, folder: Path) -> None:
        debian_cache()
        promtool = shutil.which("promtool")
        require("promtool", promtool)
        assert promtool is not None
        self._folder = folder
        self.roots: dict[str, DebianRoot] = {}
        for name, address in HOSTS.items():
            (folder / address).mkdir()
            self.roots[name] = DebianRoot(folder / address)
        logger = self.roots["log-1"].path
        (logger / "etc/prometheus").mkdir()
        (logger / "etc/prometheus/prometheus.yml").write_text(_PROMETHEUS)
        shutil.copy(promtool, logger / "usr/bin/promtool")
        shutil.copy(promtool, logger / "usr/bin/prometheus")  # nothing starts it
        self.roots["log-1"].run("groupadd", "--system", "prometheus")
        ssh = folder / "ssh"
        (folder / "enter").write_text(ENTER)
        clean, alone = shlex.join(CLEAN), shlex.join(ALONE)
        ssh.write_text(_SSH.format(folder=folder, clean=clean, alone=alone))
        ssh.chmod(0o755)
        self.variables: dict[str, Any] = {
            "ansible_ssh_executable": str(ssh),
            "ansible_ssh_transfer_method": "piped",
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            "affect_edge_start": False,
            "affect_edge_wheels": str(CACHE / "wheels"),
            "affect_edge_purpose": "research-consent",
            "affect_edge_config": {
                "source": {"kind": "v4l2", "path": "/dev/video0"},
                "zones": {"seats": {"left": {"polygon": SEAT, "participant": "P07"}}},
            },
        }

    def connected(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script outside of the roots, in which the hosts have their addresses.

        ``in_root HOST COMMAND...`` in it runs a command in a root.
        """
        enter = f'in_root() {{ at={self._folder}/$1/root; shift; exec chroot "$at" "$@"; }}\n'
        for address in HOSTS.values():
            at = self._folder / address / "root"
            enter += f"ip addr add {address}/32 dev lo\n"
            enter += f"mount -t proc proc {at}/proc; mount --bind /dev {at}/dev\n"
            enter += f"mount -t tmpfs tmpfs {at}/run\n"
        return subprocess.run(
            [*BACKGROUND, *CLEAN, *ALONE, "sh", "-c", f"ip link set lo up\n{enter}{script}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def play(self, *options: str) -> dict[str, dict[str, int]]:
        """Run the playbook; return the counts of its last lines (``ok``, ``changed``), by host."""
        hosts = {name: {"ansible_host": address} for name, address in HOSTS.items()}
        chambers = {name: each for name, each in hosts.items() if name != "log-1"}
        logger = {"affect_edge_role": "logger", "affect_edge_prometheus": True}
        groups = {
            "chambers": {"hosts": chambers},
            "loggers": {"hosts": {"log-1": hosts["log-1"]}, "vars": logger},
        }
        inventory = self._folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"vars": self.variables, "children": groups}}))
        printed = ansible("ansible-playbook", "-i", inventory, "site.yml", "--diff", *options)
        print(printed)
        recap = printed[printed.index("PLAY RECAP") :]
        return {
            line.split()[0]: {key: int(count) for key, count in re.findall(r"(\w+)=(\d+)", line)}
            for line in recap.splitlines()[1:]
            if "=" in line
        }
