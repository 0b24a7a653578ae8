"""A real PostgreSQL server of Debian's packages, for one test session.

The server refuses to run as root, so root starts it as the user ``postgres``, in a folder of its
own. Over TCP it asks for a password, over its local socket it does not.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.ports import free_port
from tests.support.waiting import HANG_S

PASSWORD = "correct horse:battery/staple#1"


def require(name: str, found: object, what: str = "") -> None:
    """Skip the test if what it needs is not installed; fail where it has to be.

    Args:
        name: of the program, a word of ``AFFECT_EDGE_REQUIRE``.
        found: anything true if it is installed.
        what: it lacks, where that is not the program itself.
    """
    if found:
        return
    missing = f"{what or name} is not installed"
    if name in os.environ.get("AFFECT_EDGE_REQUIRE", "").split():
        pytest.fail(f"{missing}, and AFFECT_EDGE_REQUIRE names {name}", pytrace=False)
    pytest.skip(missing)


def server_programs() -> Path | None:
    """Return the folder with ``initdb`` and ``postgres`` of the newest version; None without."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found and shutil.which("postgres") else None


def _version(path: Path) -> int:
    number = path.parts[-3]
    return int(number) if number.isdecimal() else 0


class PostgresServer:
    """A server in a temporary folder; ``close`` stops it and deletes the folder.

    Attributes:
        port: of the server on 127.0.0.1.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user: dict[str, Any] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="affect-edge-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync")
        (self._folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.start()

    @property
    def pid(self) -> int:
        """Of the process that starts all others of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / name, *arguments],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        deadline = time.monotonic() + HANG_S
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn()
            with contextlib.suppress(psycopg.OperationalError), self.connect():
                return
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": 60,
        }
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._data),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._user,
            )

    def kill(self) -> None:
        """Kill the server and all its processes with SIGKILL; nothing is written any more."""
        assert self._process is not None
        pid = self.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Stop the server and delete its folder."""
        if self._process is not None and self._process.poll() is None:
            # Immediate shutdown: a checkpoint of hundreds of databases takes a minute, for nothing.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._folder)

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect as the administrator, each statement a transaction of its own."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=round(HANG_S),
        )

    def new_database(self) -> "Database":
        """Create an empty database that belongs to a user with the password ``PASSWORD``."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.connect() as admin:
            admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
            admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        return Database(self, name)


class Database:
    """An empty database of a running server.

    Attributes:
        server: the server.
        name: of the database, and of the user that owns it.
        url: address without a password, for ``--out``.
        environment: variables with the password.
    """

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.url = f"postgresql://{name}@127.0.0.1:{server.port}/{name}"
        self.environment = {"PGPASSWORD": PASSWORD}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, as the administrator sees them."""
        with self.server.connect(self.name) as admin:
            return admin.execute(query.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement as the administrator."""
        with self.server.connect(self.name) as admin:
            admin.execute(statement.encode())


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server for a ``with`` block; skip or fail the test where there is none."""
    programs = server_programs()
    require("postgresql", programs)
    assert programs is not None
    server = PostgresServer(programs)
    try:
        yield server
    finally:
        server.close()
