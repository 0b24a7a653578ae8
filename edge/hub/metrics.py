"""Prometheus metrics. No label holds a person, a track, a session or an address."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from edge import __version__
from edge.errors import ConfigError
from edge.protocol.messages import FrameMessage, StatusMessage
from edge.vocabulary import GRADES, PICTURE_STATES

_MS_BUCKETS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500)


class Metrics:
    """All metrics of one daemon, in a registry of its own. Only for the hub's main loop.

    A thread of prometheus-client answers scrapes; its metric objects are thread-safe.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        histogram = partial(Histogram, buckets=_MS_BUCKETS, registry=self._registry)
        self._records = counter("affect_edge_records", "Messages published", ["kind"])
        self._faces = counter("affect_edge_faces", "Faces published", ["outcome"])
        self._dropped = gauge(
            "affect_edge_frames_dropped",
            "Frames dropped by the present worker, by the stage that was not ready",
            ["stage"],
        )
        self._dropped_total = counter(
            "affect_edge_frame_drops", "Frames dropped, as counted in the messages"
        )
        self._stage = histogram(
            "affect_edge_stage_milliseconds", "Time of each stage per frame", ["stage"]
        )
        self._latency = histogram(
            "affect_edge_latency_milliseconds", "From picture in memory to publication"
        )
        self._fps = gauge("affect_edge_fps", "Frames per second", ["of"])
        self._restarts = counter("affect_edge_worker_restarts", "Workers lost", ["reason"])
        self._source = gauge(
            "affect_edge_source_state", "1 for the present state of the source", ["state"]
        )
        self._picture = gauge(
            "affect_edge_picture_state", "1 for the present state of the picture", ["state"]
        )
        self._health = gauge("affect_edge_health_grade", "0 excellent, 1 fair, 2 poor, 3 unusable")
        self._rss = gauge("affect_edge_worker_rss_megabytes", "Resident memory of the worker")
        self._swap = gauge(
            "affect_edge_swap_possible", "1 while pictures may be written to swap on storage"
        )
        self._celsius = gauge("affect_edge_soc_celsius", "Chip temperature")
        self._unsync = gauge(
            "affect_edge_clock_unsync", "1 while the wall clock is not synchronized"
        )
        self._steps = counter("affect_edge_clock_steps", "Jumps of the wall clock")
        self._requests = counter("affect_edge_requests", "Requests to the service", ["outcome"])
        build = gauge("affect_edge_build_info", "Version", ["version"])
        build.labels(__version__).set(1)
        self._source_states: set[str] = set()

    def serve(self, address: str) -> None:
        """Serve the metrics on ``address`` (host:port) from now on.

        Raises:
            ConfigError: the address cannot be bound.
        """
        host, _, port = address.rpartition(":")
        try:
            start_http_server(int(port), host.strip("[]"), self._registry)
        except OSError as error:
            raise ConfigError(
                f"metrics.address {address!r}: {error.strerror}; choose another one, or an empty"
                " string for no metrics"
            ) from error

    def frame(self, message: FrameMessage) -> None:
        """Count a published frame."""
        self._records.labels("frame").inc()
        self._dropped_total.inc(message.frame.dropped)
        for face in message.faces:
            self._faces.labels("classified" if face.expression else "refused").inc()
        timing = message.timing_ms
        for stage in ("capture", "detect", "track", "classify"):
            self._stage.labels(stage).observe(getattr(timing, stage))
        if timing.translate:  # only frames with translated faces
            self._stage.labels("translate").observe(timing.translate)
        self._latency.observe(timing.total)

    def event(self) -> None:
        """Count a published event."""
        self._records.labels("event").inc()

    def request(self, outcome: str) -> None:
        """Count a request; ``outcome`` as in ``Service.serve``."""
        self._requests.labels(outcome).inc()

    def worker_lost(self, reason: str) -> None:
        """Count a lost worker; ``reason`` as in ``events.WorkerLost``."""
        self._restarts.labels(reason).inc()

    def clock_step(self) -> None:
        """Count a jump of the wall clock."""
        self._steps.inc()

    def status(self, message: StatusMessage, dropped: dict[str, int]) -> None:
        """Set the gauges from a status message and the worker's drops by stage."""
        self._fps.labels("captured").set(message.rates.captured_hz)
        self._fps.labels("published").set(message.rates.published_hz)
        self._source_states.add(message.source_state)
        for state in self._source_states:
            self._source.labels(state).set(state == message.source_state)
        for state in PICTURE_STATES:
            self._picture.labels(state).set(state == message.picture_state)
        self._health.set(GRADES.index(message.health.grade))
        for stage, count in dropped.items():
            self._dropped.labels(stage).set(count)
        if message.worker_rss_mb is not None:
            self._rss.set(message.worker_rss_mb)
        if message.soc_celsius is not None:
            self._celsius.set(message.soc_celsius)
        self._swap.set(message.swap == "possible")
        self._unsync.set(not message.time.synchronized)
