"""Counters and histograms of frames and faces, as plain numbers: they change with every frame.

prometheus-client's own metric objects look a label up and lock for each change, which took a fifth
of the hub's time for a frame. Here a change is an addition; the samples are made at a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS_MS: Final = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500)
_BOUNDS_S: Final = [*(str(ms / 1000) for ms in _BUCKETS_MS), "+Inf"]
_STAGES: Final = ("capture", "detect", "track", "classify")


class _Durations:
    """A histogram of durations: how many fell into each bucket, and their sum."""

    __slots__ = ("_counts", "_sum_ms")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS_S)
        self._sum_ms = 0.0

    def add(self, duration_ms: float) -> None:
        self._counts[bisect_left(_BUCKETS_MS, duration_ms)] += 1
        self._sum_ms += duration_ms

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        buckets = list(zip(_BOUNDS_S, map(float, accumulate(self._counts)), strict=True))
        family.add_metric(labels, buckets, self._sum_ms / 1000)


class FrameCounts(Collector):
    """What a scrape shows of frames, faces and events. Changed by the hub's main loop only.

    A scrape in another thread may see a frame in some of the metrics and not yet in the others.

    Attributes:
        frames: number of frames published.
        predicted_frames: number of those with a predicted expression.
        faces_in_view: faces in the newest frame; None before the first.
        last_result_ns: monotonic time of the newest frame; None before the first.
        events: number of events published.
    """

    def __init__(self) -> None:
        self.frames = self.predicted_frames = self.events = 0
        self.faces_in_view: int | None = None
        self.last_result_ns: int | None = None
        self._dropped = self._classified = self._kept = self._refused = 0
        self._stages = {stage: _Durations() for stage in _STAGES}
        self._translate = _Durations()
        self._translates = False
        self._mesh = _Durations()
        self._measures = False
        self._latency = _Durations()

    def add(
        self,
        dropped: int,
        timing_ms: Mapping[str, float],
        *,
        faces: int,
        predicted: int,
        kept: int = 0,
        now_ns: int,
    ) -> None:
        """Count a published frame.

        Args:
            dropped: frames lost just before it.
            timing_ms: the fields of ``StageTimes``.
            faces: number of its faces.
            predicted: number of those with a predicted expression.
            kept: number of those whose prediction is of an earlier frame.
            now_ns: monotonic time of its publication.
        """
        self.frames += 1
        self.predicted_frames += predicted > 0
        self._dropped += dropped
        self._classified += predicted - kept
        self._kept += kept
        self._refused += faces - predicted
        for stage, durations in self._stages.items():
            durations.add(timing_ms[stage])
        if timing_ms["translate"]:  # only frames with translated faces
            self._translate.add(timing_ms["translate"])
            self._translates = True
        if timing_ms["mesh"]:  # only frames in which a face was measured
            self._mesh.add(timing_ms["mesh"])
            self._measures = True
        self._latency.add(timing_ms["total"])
        self.faces_in_view = faces
        self.last_result_ns = now_ns

    def collect(self) -> Iterable[Metric]:
        """Yield all counters and histograms."""
        records = CounterMetricFamily("affect_edge_records", "Messages published", labels=["kind"])
        records.add_metric(["frame"], self.frames)
        records.add_metric(["event"], self.events)
        faces = CounterMetricFamily("affect_edge_faces", "Faces published", labels=["outcome"])
        faces.add_metric(["classified"], self._classified)
        faces.add_metric(["kept"], self._kept)
        faces.add_metric(["refused"], self._refused)
        predicted = CounterMetricFamily(
            "affect_edge_frames_with_expression", "Frames published with a predicted expression"
        )
        predicted.add_metric([], self.predicted_frames)
        dropped = CounterMetricFamily(
            "affect_edge_frame_drops", "Frames dropped, as in the messages"
        )
        dropped.add_metric([], self._dropped)
        stages = HistogramMetricFamily(
            "affect_edge_stage_seconds", "Time of each stage", labels=["stage"]
        )
        for stage, durations in self._stages.items():
            durations.add_to(stages, [stage])
        if self._translates:
            self._translate.add_to(stages, ["translate"])
        if self._measures:
            self._mesh.add_to(stages, ["mesh"])
        latency = HistogramMetricFamily(
            "affect_edge_latency_seconds", "From picture in memory to publication"
        )
        self._latency.add_to(latency, [])
        yield from (records, faces, predicted, dropped, stages, latency)
