"""Prometheus metrics. No label holds a person, a track, a session or an address."""

from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge import __version__, clock
from edge.config import MetricsConfig
from edge.hub.connections import HANDSHAKES, KEY_REFUSALS
from edge.hub.frame_counts import FrameCounts
from edge.hub.metrics_server import serve
from edge.protocol.events import LOSS_REASONS
from edge.protocol.messages import ScheduleStatus, StatusMessage
from edge.vocabulary import GRADES, PICTURE_STATES, SCHEDULE_REASONS

_SHARE_STATUSES: Final = 60  # statuses, one a second, over which a share of frames is taken

_GAUGES: Final = {
    "affect_edge_faces_in_view": ("Faces in the newest frame", ""),
    "affect_edge_frame_rate_hertz": ("Frames per second", "of"),
    "affect_edge_frames_dropped": (
        "Frames dropped by the present worker, by the stage that was not ready", "stage",
    ),
    "affect_edge_frames_with_expression_ratio": (
        "Share of the frames of the last minute with a predicted expression", "",
    ),
    "affect_edge_last_result_age_seconds": ("Time since the newest frame was published", ""),
    "affect_edge_source_state": ("1 for the present state of the source", "state"),
    "affect_edge_picture_state": ("1 for the present state of the picture", "state"),
    "affect_edge_health_grade": ("0 excellent, 1 fair, 2 poor, 3 unusable", ""),
    "affect_edge_worker_resident_memory_bytes": ("Resident memory of the worker", ""),
    "affect_edge_swap_possible": ("1 while pictures may be written to swap on storage", ""),
    "affect_edge_rate_divisor": ("One frame of so many is processed; 1: all", ""),
    "affect_edge_faces_per_frame": ("So many faces are read in a frame, in turns; 0: all", ""),
    "affect_edge_full_every_seconds": ("Longest time between searches of the full picture", ""),
    "affect_edge_schedule_bound": ("1 for what lets less be done for a frame", "by"),
    "affect_edge_soc_celsius": ("Chip temperature", ""),
    "affect_edge_throttled": ("1 while the board limits its processor, by the reason", "flag"),
    "affect_edge_clock_unsync": ("1 while the wall clock is not synchronized", ""),
    "affect_edge_preview_on": ("1 while the preview is open", ""),
    "affect_edge_alarm_active": ("Raised alarms, by the rule of [alarms]", "rule"),
}  # fmt: skip
"""Gauges that have no sample while their value is unknown: help text, and name of the label."""


class Metrics:
    """All metrics of one daemon, in a registry of its own. Only for the hub's main loop.

    A thread of prometheus-client answers scrapes; its metric objects are thread-safe.

    Attributes:
        frames: counts the published frames.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        self._restarts = counter("affect_edge_worker_restarts", "Workers lost", ["reason"])
        self._steps = counter("affect_edge_clock_steps", "Jumps of the wall clock")
        self._requests = counter("affect_edge_requests", "Requests to the service", ["outcome"])
        self._cut = counter(
            "affect_edge_connections_cut",
            "Connections that were cut to bound the memory",
            ["socket", "reason"],
        )
        self._rejected = counter("affect_edge_auth_rejected", "Peers refused", ["why"])
        self._reload_failed = Gauge(
            "affect_edge_auth_reload_failed",
            "1 while the allowed keys are older than their folder, as the last reload failed",
            registry=self._registry,
        )
        self._webhook = counter(
            "affect_edge_webhook_messages", "Alarms for alarms.webhook_url", ["outcome"]
        )
        build = Gauge("affect_edge_build_info", "Version", ["version"], registry=self._registry)
        build.labels(__version__).set(1)
        for metric, labels in (  # a series that begins above 0 shows no increase
            (self._restarts, LOSS_REASONS),
            (self._requests, ("answered", "refused", "unheard")),
            (self._rejected, (*KEY_REFUSALS, *HANDSHAKES)),
            (self._webhook, ("delivered", "failed", "dropped")),
        ):
            for label in labels:
                metric.labels(label)
        for socket in ("publish", "service"):
            for reason in ("bytes", "memory", "count"):
                self._cut.labels(socket, reason)
        self.frames = FrameCounts()
        self._registry.register(self.frames)
        self._gauges = _KnownGauges(self.frames)
        self._registry.register(self._gauges)
        self._source_states: set[str] = set()
        # frames, and frames with a predicted expression, at the newest statuses
        self._past_counts = deque([(0, 0)], maxlen=_SHARE_STATUSES + 1)

    def serve(self, config: MetricsConfig) -> None:
        """Serve the metrics from now on, where and to whom ``config`` says; without address never.

        Raises:
            ConfigError: the address cannot be bound, or a file of TLS or the token is wrong.
        """
        if config.address:
            serve(self._registry, config)

    def register(self, collector: Collector) -> None:
        """Serve the metrics of ``collector``, too."""
        self._registry.register(collector)

    def event(self) -> None:
        """Count a published event."""
        self.frames.events += 1

    def request(self, outcome: str) -> None:
        """Count a request; ``outcome`` as in ``Service.serve``."""
        self._requests.labels(outcome).inc()

    def connection_cut(self, socket: str, reason: str) -> None:
        """Count a connection that was cut; arguments as in ``edge.hub.guard``. For any thread."""
        self._cut.labels(socket, reason).inc()

    def peer_rejected(self, why: str) -> None:
        """Count a refused peer; ``why`` of ``KEY_REFUSALS`` or ``HANDSHAKES``.

        For any thread.
        """
        self._rejected.labels(why).inc()

    def keys_reloaded(self, succeeded: bool) -> None:
        """Note whether the last reload of the allowed keys succeeded."""
        self._reload_failed.set(not succeeded)

    def webhook(self, outcome: str) -> None:
        """Count a ``delivered`` or ``dropped`` message, or a ``failed`` attempt; for any thread."""
        self._webhook.labels(outcome).inc()

    def worker_lost(self, reason: str) -> None:
        """Count a lost worker; ``reason`` as in ``events.WorkerLost``."""
        self._restarts.labels(reason).inc()

    def clock_step(self) -> None:
        """Count a jump of the wall clock."""
        self._steps.inc()

    def status(
        self,
        message: StatusMessage,
        dropped: Mapping[str, int],
        throttle_flags: Mapping[str, bool] | None,
        alarms: Mapping[str, int] | None = None,
    ) -> None:
        """Set the gauges from a status message.

        Args:
            message: it is published next.
            dropped: the worker's drops by stage; empty without a worker.
            throttle_flags: as ``Board.throttle_flags``.
            alarms: number of raised alarms of each rule that is on.
        """
        rates, rss_mb = message.rates, message.worker_rss_mb
        self._source_states.add(message.source_state)
        is_running = message.source_state == "running"
        swap = None if message.swap is None else message.swap == "possible"
        self._gauges.set({
            "affect_edge_faces_in_view": {"": self.frames.faces_in_view if is_running else None},
            "affect_edge_frame_rate_hertz": {
                "expected": rates.expected_hz,
                "captured": rates.captured_hz,
                "published": rates.published_hz,
            },
            "affect_edge_frames_dropped": dropped,
            "affect_edge_frames_with_expression_ratio": {"": self._predicted_share()},
            "affect_edge_source_state": {
                state: state == message.source_state for state in self._source_states
            },
            "affect_edge_picture_state": {
                state: state == message.picture_state for state in PICTURE_STATES
            },
            "affect_edge_health_grade": {"": GRADES.index(message.health.grade)},
            "affect_edge_worker_resident_memory_bytes": {"": rss_mb and rss_mb * 2**20},
            "affect_edge_swap_possible": {"": swap},
            "affect_edge_rate_divisor": {"": message.rate_divisor},
            **_schedule_samples(message.schedule),
            "affect_edge_soc_celsius": {"": message.soc_celsius},
            "affect_edge_throttled": throttle_flags or {},
            "affect_edge_clock_unsync": {"": not message.time.synchronized},
            "affect_edge_preview_on": {"": message.preview_s is not None},
            "affect_edge_alarm_active": alarms or {},
        })  # fmt: skip

    def _predicted_share(self) -> float | None:
        """Return the share of recent frames with a predicted expression; None without frames."""
        counts = (self.frames.frames, self.frames.predicted_frames)
        self._past_counts.append(counts)
        frames, predicted = (
            new - old for new, old in zip(counts, self._past_counts[0], strict=True)
        )
        return predicted / frames if frames else None


def _schedule_samples(schedule: ScheduleStatus | None) -> dict[str, dict[str, float | None]]:
    """Return the gauges of the schedule."""
    if schedule is None:
        return {}
    return {
        "affect_edge_faces_per_frame": {"": schedule.faces_per_frame},
        "affect_edge_full_every_seconds": {"": schedule.full_every_s},
        "affect_edge_schedule_bound": {
            reason: reason in schedule.bound_by for reason in SCHEDULE_REASONS
        },
    }


class _KnownGauges(Collector):
    """Collects the gauges whose value is known. ``set`` may be called during a scrape."""

    def __init__(self, frames: FrameCounts) -> None:
        self._values: Mapping[str, Mapping[str, float | None]] = {}
        self._frames = frames

    def set(self, values: Mapping[str, Mapping[str, float | None]]) -> None:
        """Replace all values, by metric and label; None for unknown."""
        self._values = values

    def collect(self) -> Iterable[Metric]:
        """Yield a metric for each gauge with a known value."""
        values = dict(self._values)
        last_result_ns = self._frames.last_result_ns
        if last_result_ns is not None:
            # taken now, not with the status: it grows while the main loop hangs
            age_s = clock.elapsed_ms(last_result_ns) / 1000
            values["affect_edge_last_result_age_seconds"] = {"": age_s}
        for name, samples in values.items():
            text, label = _GAUGES[name]
            family = GaugeMetricFamily(name, text, labels=[label] if label else [])
            for value_of, value in samples.items():
                if value is not None:
                    family.add_metric([value_of] if label else [], float(value))
            if family.samples:
                yield family
