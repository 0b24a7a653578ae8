"""What Prometheus scrapes: over HTTP, read with Prometheus's own parser and checker."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge import clock
from edge.config import MetricsConfig
from edge.hub.metrics import Metrics
from edge.protocol.messages import StatusMessage
from tests.support import wire
from tests.support.daemons import ROOT, RunningDaemon
from tests.support.ports import free_port
from tests.support.postgres import require
from tests.support.waiting import HANG_S

FLAGS = {"under_voltage": True, "frequency_capped": False}
COUNTS = re.compile(r"affect_edge_\w+_(total|created|bucket|count|sum)")


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as answer:
        return str(answer.read().decode())


class Scraped:
    """The metrics of no daemon, served on a free port."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.port = free_port()
        self.metrics.serve(MetricsConfig(address=f"127.0.0.1:{self.port}"))

    def samples(self, name: str) -> dict[str, float]:
        """Return value by label; the label is empty where there is none."""
        return {
            next(iter(sample.labels.values()), ""): sample.value
            for family in text_string_to_metric_families(page(self.port))
            for sample in family.samples
            if sample.name == f"affect_edge_{name}"
        }


def count_frame(metrics: Metrics, *faces: dict[str, Any]) -> None:
    message = wire.frame(1, *faces)
    metrics.frames.add(
        message.frame.dropped,
        message.timing_ms.model_dump(),
        faces=len(faces),
        predicted=sum(face["expression"] is not None for face in faces),
        now_ns=message.time.published_ns,
    )


def status(**fields: Any) -> StatusMessage:
    return wire.status(3).model_copy(update=fields)


def test_nothing_unknown_has_a_sample() -> None:
    scraped = Scraped()
    for number in range(2):  # before the first status, and after one of a daemon that knows nothing
        names = set(re.findall(r"(?m)^(affect_edge_\w+)", page(scraped.port)))
        gauges = {name for name in names if not COUNTS.fullmatch(name)}
        known = {
            "frame_rate_hertz",
            "source_state",
            "picture_state",
            "health_grade",
            "clock_unsync",
            "rate_divisor",
            "preview_on",
        }
        assert gauges == {
            f"affect_edge_{name}"
            for name in {"auth_reload_failed", "build_info", *(known if number else ())}
        }
        scraped.metrics.status(status(source_state="starting"), {}, None)


def test_what_becomes_unknown_loses_its_sample() -> None:
    scraped = Scraped()
    known = status(worker_rss_mb=100.0, soc_celsius=61.5, swap="prevented")
    count_frame(scraped.metrics, wire.face())
    scraped.metrics.status(known, {"detect": 3}, FLAGS)
    names = ("worker_resident_memory_bytes", "soc_celsius", "swap_possible", "throttled",
             "frames_dropped", "faces_in_view")  # fmt: skip
    values = [scraped.samples(name) for name in names]
    assert values == [
        {"": 100 * 2**20}, {"": 61.5}, {"": 0}, {"under_voltage": 1, "frequency_capped": 0},
        {"detect": 3}, {"": 1},
    ]  # fmt: skip
    scraped.metrics.status(status(source_state="restarting"), {}, None)
    assert [scraped.samples(name) for name in names] == [{}] * len(names)


def test_faces_are_counted_by_what_became_of_them() -> None:
    scraped = Scraped()
    scraped.metrics.frames.add(
        0, wire.frame(1).timing_ms.model_dump(), faces=9, predicted=7, kept=4, now_ns=1
    )
    assert scraped.samples("faces_total") == {"classified": 3, "kept": 4, "refused": 2}
    assert scraped.samples("frames_with_expression_total") == {"": 1}


def test_units_are_base_units() -> None:
    scraped = Scraped()
    count_frame(scraped.metrics)
    assert scraped.samples("latency_seconds_sum") == {"": pytest.approx(0.017)}
    assert scraped.samples("stage_seconds_sum")["detect"] == pytest.approx(0.0098)
    assert not re.search(r"milliseconds|megabytes|_ms\b|_mb\b", page(scraped.port))


def test_the_share_of_frames_with_an_expression_is_of_the_last_minute() -> None:
    scraped = Scraped()
    for faces in ((wire.face(),), (wire.face(), wire.face(5)), (), (wire.face(classified=False),)):
        count_frame(scraped.metrics, *faces)
    scraped.metrics.status(status(), {}, None)
    assert scraped.samples("frames_with_expression_total") == {"": 2}
    assert scraped.samples("frames_with_expression_ratio") == {"": 0.5}
    assert scraped.samples("faces_total") == {"classified": 3, "kept": 0, "refused": 1}
    for _ in range(59):
        count_frame(scraped.metrics)
        scraped.metrics.status(status(), {}, None)
    assert scraped.samples("frames_with_expression_ratio") == {"": pytest.approx(2 / 63)}
    count_frame(scraped.metrics)
    scraped.metrics.status(status(), {}, None)
    assert scraped.samples("frames_with_expression_ratio") == {"": 0}
    for _ in range(60):
        scraped.metrics.status(status(), {}, None)
    assert scraped.samples("frames_with_expression_ratio") == {}


def test_the_age_of_the_newest_result_grows_without_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scraped = Scraped()
    assert scraped.samples("last_result_age_seconds") == {}
    count_frame(scraped.metrics)
    monkeypatch.setattr(clock, "elapsed_ms", lambda since_ns: 12_000.0 + since_ns / 1e6)
    assert scraped.samples("last_result_age_seconds") == {"": pytest.approx(12.005)}


def test_counters_begin_at_zero() -> None:
    scraped = Scraped()
    assert set(scraped.samples("worker_restarts_total").values()) == {0}
    assert "not_started" in scraped.samples("worker_restarts_total")
    assert scraped.samples("requests_total") == {"answered": 0, "refused": 0, "unheard": 0}


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics of a daemon that reads the demo."""
    port = free_port()
    folder = tmp_path_factory.mktemp("daemon")
    address = ("--set", f'metrics.address="127.0.0.1:{port}"')
    with RunningDaemon(
        folder, "--source", "demo", "--set", "source.repeat=0", *address, metrics=True
    ) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "status" and m["frames_published"] > 10)
        daemon.wait_for(lambda m: m["kind"] == "status")
        return page(port)


def test_promtool_finds_nothing(real_page: str) -> None:
    promtool = shutil.which("promtool")  # of Debian's package prometheus
    require("promtool", promtool)
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "metrics"], input=real_page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_documents_list_every_metric(real_page: str) -> None:
    section = (ROOT / "docs/operation.md").read_text().partition("\n## Metrics\n")[2]
    documented = set(re.findall(r"(?m)^\| `(affect_edge_\w+)` \|", section.partition("\n## ")[0]))
    names = set(re.findall(r"(?m)^(affect_edge_\w+?)(?:_bucket|_count|_sum)?[ {]", real_page))
    present = {name for name in names if not name.endswith("_created")}
    rare = {"soc_celsius", "throttled"}  # what this machine may not know
    rare |= {"swap_possible", "consumer_lag_records"}
    assert present | {f"affect_edge_{name}" for name in rare} == documented


def test_examples_name_metrics_that_exist() -> None:
    documented = set(re.findall(r"affect_edge_\w+", (ROOT / "docs/operation.md").read_text()))
    role = ROOT / "deploy/ansible/roles/affect_edge"  # whose variables begin like metrics
    variables = "".join(each.read_text() for each in role.rglob("defaults/*.yml"))
    documented |= {"affect_edge_role", *re.findall(r"affect_edge_\w+", variables)}
    for path in (*Path(ROOT / "deploy").rglob("*"), *Path(ROOT / "docs").glob("*.md")):
        if path.is_file() and role not in path.parents:
            text = path.read_text(errors="replace")
            named = set(re.findall(r"\baffect_edge_(?!models)\w+", text))
            parts = {name for name in named if name.rpartition("_")[0] in documented}  # histograms
            assert named - parts <= documented, path
