"""Two chambers and a logging machine, each a Debian root, as Ansible reaches them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.daemons import ROOT
from tests.support.debian_root import (
    ALONE,
    BACKGROUND,
    CACHE,
    CLEAN,
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

# In place of ssh: the last two words are the host and its command. With a file `cut` a host is out
# of reach as soon as its configuration has what that file says.
_SSH = """\
#!/bin/sh
for word; do host=$command command=$word; done
cd {folder}/$host || exit 255
[ ! -e ../cut ] || ! grep -qs -F -f ../cut root/etc/affect-edge/edge.toml || exit 255
exec ./enter "$command"
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

    def __init__(self, folder: Path, hosts: Sequence[str] = tuple(HOSTS)) -> None:
        debian_cache()
        programs = [shutil.which(name) for name in ("promtool", "prometheus")]  # of one package
        require("promtool", all(programs))
        self._folder = folder
        self.roots: dict[str, DebianRoot] = {}
        for name in hosts:
            (folder / HOSTS[name]).mkdir()
            self.roots[name] = DebianRoot(folder / HOSTS[name])
            self.enter(name, self.roots[name].command("/bin/sh", "-c"))
        logger = self.roots["log-1"]
        (logger.path / "etc/prometheus").mkdir()
        (logger.path / "etc/prometheus/prometheus.yml").write_text(_PROMETHEUS)
        for program in filter(None, programs):
            shutil.copy(program, logger.path / "usr/bin")
        logger.run("useradd", "--system", "--user-group", "prometheus")
        ssh = folder / "ssh"
        ssh.write_text(_SSH.format(folder=folder))
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

    def enter(self, name: str, words: Sequence[str]) -> None:
        """Say how a host is entered: by these words, and one that a shell in it runs."""
        script = self._folder / HOSTS[name] / "enter"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$1"\n')
        script.chmod(0o755)

    def cut_off(self, configuration: str | None) -> None:
        """Let a host go out of reach as soon as this is in its configuration; None: never."""
        file = self._folder / "cut"
        file.unlink(missing_ok=True)
        if configuration is not None:
            file.write_text(f"{configuration}\n")

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
        hosts = {name: {"ansible_host": HOSTS[name]} for name in self.roots}
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
