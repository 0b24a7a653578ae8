"""What one server spends on 5, 10 and 20 chambers: logger, PostgreSQL and Prometheus.

Environment variables: ``FLEET_COUNTS`` (5,10,20), ``FLEET_SECONDS`` (120, of each count),
``FLEET_RATE_HZ`` (10, of each daemon), ``FLEET_SCRAPE_S`` (5).
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.daemons import ROOT
from tests.support.fleet import cpu_s, running_fleet
from tests.support.ports import free_port
from tests.support.postgres import running_server
from tests.support.prometheus_server import running_prometheus
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stage, pytest.mark.timeout(3600)]

COUNTS = [int(each) for each in os.environ.get("FLEET_COUNTS", "5,10,20").split(",")]
SECONDS = float(os.environ.get("FLEET_SECONDS", "120"))
RATE_HZ = float(os.environ.get("FLEET_RATE_HZ", "10"))
SCRAPE_S = int(os.environ.get("FLEET_SCRAPE_S", "5"))


def configuration(ports: Sequence[int]) -> str:
    """Return the example configuration of Prometheus, for these daemons."""
    text = (ROOT / "deploy/prometheus/prometheus.example.yml").read_text()
    targets = "".join(
        f'      - targets: ["127.0.0.1:{port}"]\n        labels: {{device: chamber-{number}}}\n'
        for number, port in enumerate(ports)
    )
    start, end = text.index("      - targets:"), text.index("  # Other machines")
    rules = f"{ROOT}/deploy/prometheus/affect-edge.rules.yml"
    text = text[:start] + targets + text[end:]
    return text.replace("15s", f"{SCRAPE_S}s").replace("affect-edge.rules.yml", rules)


def slope(counts: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Return the growth per chamber of the least-squares line, and its value without any."""
    per_chamber, fixed = np.polyfit(counts, values, 1)
    return {"per_chamber": round(float(per_chamber), 5), "fixed": round(float(fixed), 4)}


def test_what_a_server_spends_on_each_chamber(tmp_path: Path) -> None:
    rows = []
    with running_server() as server:
        for count in COUNTS:
            folder = tmp_path / str(count)
            folder.mkdir()
            ports = [free_port() for _ in range(count)]
            with (
                running_fleet(server.new_database(), count, RATE_HZ, ports) as fleet,
                running_prometheus(folder, configuration(ports)) as prometheus,
            ):
                fleet.missing_and_stored()  # the start has been caught up with
                wait_until(lambda: prometheus.value("sum(up)") == count, 120)  # noqa: B023
                started, before = time.monotonic(), cpu_s(prometheus.pid)
                row = fleet.measure(SECONDS)
                spent_s, elapsed_s = cpu_s(prometheus.pid) - before, time.monotonic() - started
                row["prometheus_cpu_share"] = round(spent_s / elapsed_s, 4)
                row["samples_per_scrape"] = prometheus.value("avg(scrape_samples_scraped)")
                assert prometheus.value("sum(up)") == count
                missing, stored = fleet.missing_and_stored()
            rows.append(row | {"missing": missing, "stored": stored})
    shares = ("rows_per_s", "logger_cpu_share", "server_cpu_share", "prometheus_cpu_share")
    figures = {
        "rate_hz": RATE_HZ,
        "seconds": SECONDS,
        "scrape_s": SCRAPE_S,
        "counts": rows,
        "slopes": {key: slope(COUNTS, [row[key] for row in rows]) for key in shares},
        "gb_per_chamber_and_day": round(RATE_HZ * rows[-1]["bytes_per_row"] * 86_400 / 1e9, 2),
    }
    print(json.dumps(figures, indent=2))
    assert [row["missing"] for row in rows] == [0] * len(COUNTS)
    assert all(row["stored"] > 0 and row["samples_per_scrape"] > 100 for row in rows)
