"""Metrics of the journal, taken from it when they are scraped."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.hub.journal.journal import Journal

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REASONS: Final = ("power_cut", "tail_lost", "overflow", "trimmed", "damaged", "unknown")
_GAUGES: Final = {
    "affect_edge_backlog_records": "Messages that are not in the journal's file yet",
    "affect_edge_backlog_bytes": "Size of these messages in memory",
    "affect_edge_journal_bytes": "Size of the journal",
    "affect_edge_journal_max_bytes": "Size at which the journal deletes its oldest messages",
}


class JournalCollector(Collector):
    """Collects the journal's metrics. Any thread may scrape."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._commits = Histogram(
            "affect_edge_commit_seconds",
            "Time of each commit of the journal",
            buckets=_BUCKETS,
            registry=None,
        )
        journal.on_commit = self._commits.observe

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield from self._commits.collect()
        status = self._journal.status()
        state = GaugeMetricFamily(
            "affect_edge_storage_state", "1 for the present state of the journal", labels=["state"]
        )
        for name in ("ok", "memory"):
            state.add_metric([name], float(status.state == name))
        yield state
        values = {
            "affect_edge_backlog_records": status.pending,
            "affect_edge_backlog_bytes": self._journal.pending_bytes,
            "affect_edge_journal_bytes": status.bytes,
            "affect_edge_journal_max_bytes": status.max_bytes,
        }
        for name, value in values.items():
            yield GaugeMetricFamily(name, _GAUGES[name], value=float(value))
        lag = GaugeMetricFamily(
            "affect_edge_consumer_lag_records",
            "Messages of this epoch that a consumer has not acknowledged",
            labels=["consumer"],
        )
        for name, consumer in status.consumers.items():
            lag.add_metric([name], float(consumer.lag))
        yield lag
        gaps = CounterMetricFamily(
            "affect_edge_seq_gap",
            "Messages that the journal lost or deleted too early",
            labels=["reason"],
        )
        counts = dict.fromkeys(_REASONS, 0) | self._journal.gap_counts
        for reason, count in counts.items():
            gaps.add_metric([reason], float(count))
        yield gaps
