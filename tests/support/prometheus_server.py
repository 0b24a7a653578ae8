"""A real Prometheus of Debian's package, for a ``with`` block."""

import contextlib
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.postgres import require
from tests.support.waiting import HANG_S, wait_until


class PrometheusServer:
    """A running server.

    Attributes:
        pid: of its process.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._port = port

    def query(self, path: str, **parameters: str) -> Any:
        """Return the data that ``/api/v1/PATH`` answers; None while the server starts."""
        words = urllib.parse.urlencode(parameters)
        try:
            url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{words}"
            with urllib.request.urlopen(url, timeout=HANG_S) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, expression: str) -> float | None:
        """Return the value of the only series of an expression; None without one."""
        found = (self.query("query", query=expression) or {"result": []})["result"]
        return float(found[0]["value"][1]) if found else None


@contextlib.contextmanager
def running_prometheus(folder: Path, configuration: str) -> Iterator[PrometheusServer]:
    """Start a server for a ``with`` block; skip or fail the test where there is none.

    Args:
        folder: with the rules that the configuration names; gets its data.
        configuration: text of ``prometheus.yml``.
    """
    program = shutil.which("prometheus")  # of the same package as promtool
    require("promtool", program)
    assert program is not None
    port = free_port()
    (folder / "prometheus.yml").write_text(configuration)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    server = PrometheusServer(process.pid, port)
    try:
        wait_until(lambda: server.query("query", query="1") is not None, 60)
        yield server
    finally:
        process.terminate()
        process.wait(HANG_S)
