"""A chamber and a logging machine of the Ansible fleet, each with a systemd that runs."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ansible_fleet import HOSTS, AnsibleFleet
from tests.support.debian_root import debian_cache
from tests.support.postgres import require
from tests.support.systemd_container import FOR_BUSY_MACHINES, PROGRAMS, SystemdContainer

# As Debian's package has it, without what hardens it.
_PROMETHEUS_UNIT = """\
[Service]
Restart=on-failure
User=prometheus
ExecStart=/usr/bin/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/srv
[Install]
WantedBy=multi-user.target
"""


class RunningFleet(AnsibleFleet):
    """The hosts ``chamber-1`` and ``log-1``, connected; for a ``with`` block.

    The logging machine has Prometheus installed, with its service enabled. The chamber's camera is
    missing, which its daemon declares.

    Attributes:
        systems: by name of the host.
    """

    def __init__(self, folder: Path) -> None:
        debian_cache(*PROGRAMS)
        require("vm", SystemdContainer.is_possible(), "control groups of version 2")
        super().__init__(folder, ("chamber-1", "log-1"))
        self.variables |= {"affect_edge_start": True, "affect_edge_log": "sqlite"}
        units = Path("etc/systemd/system")
        busy = self.roots["chamber-1"].path / units / "affect-edge.service.d/busy.conf"
        busy.parent.mkdir()
        busy.write_text(FOR_BUSY_MACHINES)
        logger = self.roots["log-1"]
        (logger.path / units / "prometheus.service").write_text(_PROMETHEUS_UNIT)
        for command in ("chown prometheus /srv", "systemctl enable prometheus"):
            done = logger.run(*command.split())
            assert done.returncode == 0, done.stderr
        self.systems = {name: SystemdContainer(root) for name, root in self.roots.items()}

    def __enter__(self) -> Self:
        for name, system in self.systems.items():
            system.start()
            self.enter(name, system.command("/bin/sh", "-c"))
        chamber, logger = self.systems["chamber-1"], self.systems["log-1"]
        chamber.connect(logger, HOSTS["chamber-1"], HOSTS["log-1"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for system in self.systems.values():
            system.cut_power()
