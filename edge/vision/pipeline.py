"""The order of the stages, and nothing else: frame in, faces with affect out.

Pure but for the stopwatch: the same frames in the same order give the same states, whatever the
machine's speed, because identity and smoothing run on the frames' own ``sensor_ns``. The worker
runs the two halves in two threads; benchmarks, the golden check and replay tests call ``step``.
"""

from dataclasses import replace

from edge.clock import Stopwatch
from edge.config import Config, ImagesSource, TrackingConfig
from edge.errors import InferenceError
from edge.vision.affect import AffectOverTime
from edge.vision.detect import Detector, open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.quality import INFERENCE_FAILED, assess
from edge.vision.tracking import Tracker
from edge.vision.translate import Translator, open_translator
from edge.vision.values import FaceState, Frame, FrameState, FrameTracks, Track

MAX_FACES = 48
"""Faces kept per frame, the surest first: bounds a message to 64 KiB whatever a frame shows."""


class Pipeline:
    """Detector, tracker, quality, translation, expression and smoothing over a source's frames.

    ``detect`` and ``classify`` own separate state: each may run in a thread of its own, as long
    as each is called from one thread, in the order of the frames.
    """

    def __init__(
        self,
        detector: Detector,
        expression: ExpressionNetwork,
        config: Config,
        *,
        translator: Translator | None = None,
        first_track: int = 1,
    ) -> None:
        self._detector = detector
        self._expression = expression
        self._translator = translator
        self._config = config
        self._tracker = Tracker(_tracking(config), first_id=first_track)
        self._affect = AffectOverTime(config.affect)

    @classmethod
    def open(cls, config: Config, *, first_track: int = 1) -> "Pipeline":
        """Load the configured networks; tracks are numbered from ``first_track``.

        Raises:
            ModelError: a model cannot be trusted or does not fit its task.
        """
        state = config.journal.path
        return cls(
            open_detector(config.detector, state),
            open_expression(config.expression, state),
            config,
            translator=open_translator(config.translator, state),
            first_track=first_track,
        )

    @property
    def detector(self) -> Detector:
        """The detector, for those who need its input size or to check it."""
        return self._detector

    @property
    def expression(self) -> ExpressionNetwork:
        """The expression network, for those who check it."""
        return self._expression

    @property
    def translator(self) -> Translator | None:
        """The translator between crop and expression network; None where faces go straight."""
        return self._translator

    def detect(self, frame: Frame) -> FrameTracks:
        """Find the faces of ``frame`` and give them identities.

        Raises:
            InferenceError: the detector failed on this frame; the tracker has not moved.
        """
        stopwatch = Stopwatch()
        detections = self._detector.detect(frame, stopwatch)  # the surest first
        tracks = self._tracker.update(detections[:MAX_FACES], frame.sensor_ns)
        stopwatch.lap("track")
        left_out = max(0, len(detections) - MAX_FACES)
        return FrameTracks(frame, tracks, stopwatch.stage_ms, left_out)

    def classify(self, seen: FrameTracks) -> FrameState:
        """Judge each face of ``seen`` and read those that can be read.

        A face on which the translator or the expression network fails stays in the result,
        unread, with the reason.
        """
        stopwatch = Stopwatch()
        faces = tuple(self._read(seen.frame, track, stopwatch) for track in seen.tracks)
        return FrameState(seen.frame, faces, {**seen.stage_ms, **stopwatch.stage_ms})

    def step(self, frame: Frame) -> FrameState:
        """Run both halves on ``frame``, in the calling thread.

        Raises:
            InferenceError: the detector failed on this frame.
        """
        return self.classify(self.detect(frame))

    def _read(self, frame: Frame, track: Track, stopwatch: Stopwatch) -> FaceState:
        detection = track.detection
        quality = assess(frame.luma, detection.box, detection.landmarks, self._config.quality)
        stopwatch.lap("quality")
        if not quality.usable:
            return FaceState(track, quality)
        try:
            reading = self._expression.read(frame, detection.box, stopwatch, self._translator)
        except InferenceError:
            quality = replace(quality, usable=False, reasons=(*quality.reasons, INFERENCE_FAILED))
            return FaceState(track, quality)
        smoothed = self._affect.update(track.id, reading, frame.sensor_ns)
        stopwatch.lap("smooth")
        return FaceState(track, quality, reading, smoothed)


def _tracking(config: Config) -> TrackingConfig:
    """Return how to track: a weak detection in a picture that stands alone is shown at once.

    Pictures farther apart than ``vanish_s`` cannot confirm one another: waiting for a second
    sight would only lose those faces.
    """
    source, tracking = config.source, config.tracking
    if isinstance(source, ImagesSource) and source.rate_hz * tracking.vanish_s < 1:
        return tracking.model_copy(update={"appear_s": 0.0})
    return tracking
