"""The vision pipeline: runs the stages in order, from a frame to faces with affect.

Deterministic except for the measured times: the same frames in the same order give the same
states at any speed, because tracking and smoothing use the frames' ``sensor_ns``. The worker runs
``detect`` and ``classify`` in two threads; benchmarks and replay tests call ``step``.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.clock import Stopwatch
from edge.config import Config, ImagesSource, TrackingConfig
from edge.errors import InferenceError
from edge.protocol.detail import Detail
from edge.vision.affect import AffectSmoother
from edge.vision.detect import Detector, open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.expression.head_choice import HeadChoice
from edge.vision.expression.turns import Readings
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.mesh import open_mesh
from edge.vision.mesh.lids import LidWatch
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.mesh.turns import MeshTurns
from edge.vision.quality import INFERENCE_FAILED, TURNED_AWAY, assess
from edge.vision.regions import Found, RegionFinder, finder_of, open_finder
from edge.vision.tracking import Tracker
from edge.vision.translate import Translator, open_translator
from edge.vision.values import FaceState, Frame, FrameState, FrameTracks, Quality, Track
from edge.vision.zones import Zones

MAX_FACES = 48
"""Faces kept per frame, highest score first: bounds a message to 64 KiB."""


class Pipeline:
    """Detector, tracker, quality, translation, expression and smoothing over a source's frames.

    ``detect`` and ``classify`` have separate state: they may run in two threads, if each is always
    called from the same thread, in the order of the frames.
    """

    def __init__(
        self,
        detector: Detector,
        expression: ExpressionNetwork,
        config: Config,
        *,
        translator: Translator | None = None,
        finder: RegionFinder | None = None,
        mesh: FaceMeshNetwork | None = None,
        first_track: int = 1,
    ) -> None:
        self._detector = detector
        self._finder = finder
        self._expression = expression
        self._translator = translator
        self._config = config
        self._zones = Zones(config.zones)
        self._tracker = Tracker(_tracking_config(config), first_id=first_track)
        self._affect = AffectSmoother(config.affect)
        self._readings = Readings(keeps_unchanged=config.expression.keep_unchanged)
        self._faces_per_frame = config.expression.faces_per_frame
        self._heads = HeadChoice() if mesh is not None and expression.takes_coefficients else None
        self._mesh = mesh
        self._mesh_turns = MeshTurns(config.mesh)
        self._lids = LidWatch(config.mesh.eyes_closed_s, config.tracking.vanish_s)
        # with one core the mesh also delays the detection of the next frame
        self._has_one_core = len(os.sched_getaffinity(0)) == 1
        self._repeat = 0
        self._ignored = 0  # detections outside the seats at the last full look

    @classmethod
    def open(
        cls,
        config: Config,
        *,
        first_track: int = 1,
        most_threads: MostThreads = ONE_THREAD,
        on_loaded: Callable[[], None] = lambda: None,
    ) -> "Pipeline":
        """Load the configured networks.

        Args:
            config: of the daemon.
            first_track: number of the first track.
            most_threads: of networks whose ``threads`` are ``auto``.
            on_loaded: called after each network.

        Raises:
            ModelError: a model fails verification or does not fit its task.
        """
        state_dir = config.journal.state_dir
        detector = open_detector(config.detector, state_dir, most_threads)
        on_loaded()
        expression = open_expression(config.expression, state_dir, most_threads)
        on_loaded()
        translator = open_translator(config.translator, state_dir, most_threads)
        on_loaded()
        finder = open_finder(config, detector, most_threads)
        on_loaded()
        mesh = open_mesh(config.mesh, state_dir, most_threads)
        on_loaded()
        return cls(
            detector,
            expression,
            config,
            translator=translator,
            finder=finder,
            mesh=mesh,
            first_track=first_track,
        )

    def renewed(self, config: Config) -> "Pipeline":
        """Return a pipeline of the same networks that has seen no frame; tracks begin at 1.

        Args:
            config: may differ in source and tracking.
        """
        finder = self._finder and finder_of(config, self._detector, self._finder.region)
        return Pipeline(
            self._detector,
            self._expression,
            config,
            translator=self._translator,
            finder=finder,
            mesh=self._mesh,
        )

    @property
    def detector(self) -> Detector:
        """The detector of full frames, for its input size and for checks."""
        return self._detector

    @property
    def region_detector(self) -> Detector | None:
        """The detector of regions, for checks; None if every frame is searched in full."""
        return None if self._finder is None else self._finder.region

    @property
    def expression(self) -> ExpressionNetwork:
        """The expression network, for checks."""
        return self._expression

    @property
    def translator(self) -> Translator | None:
        """The translator between crop and expression network; None: faces are not translated."""
        return self._translator

    @property
    def mesh(self) -> FaceMeshNetwork | None:
        """The face mesh network, for checks; None: the mesh is off."""
        return self._mesh

    def limit(self, faces_per_frame: int, full_every_factor: int, mesh_every: int = 1) -> None:
        """Do less than configured from the next frame on. For any thread.

        Args:
            faces_per_frame: so many faces are read in a frame; 0: as many as configured.
            full_every_factor: the time between full looks is so many times the configured one.
            mesh_every: the mesh measures in one frame of so many; 0: in none.
        """
        self._mesh_turns.every = mesh_every
        limits = (faces_per_frame, self._config.expression.faces_per_frame)
        self._faces_per_frame = min(filter(None, limits), default=0)
        if self._finder is not None:
            self._finder.full_every_factor = full_every_factor

    def detect(self, frame: Frame) -> FrameTracks:
        """Detect and track the faces of ``frame``.

        Raises:
            InferenceError: the detector failed on this frame; the tracker is unchanged.
        """
        stopwatch = Stopwatch()
        if frame.repeat != self._repeat:  # a cut from the end of a file to its beginning
            self._repeat = frame.repeat
            self._tracker.end_tracks()
        found = self._find(frame, stopwatch)
        detections = self._zones.keep(found.detections, frame.width, frame.height)
        tracks = self._tracker.update(
            detections[:MAX_FACES], frame.sensor_ns, skipped=found.skipped
        )
        # where a face is expected, too, it may have left its seat
        tracks = tuple(
            each
            for each in tracks
            if each.detection.found != "predicted"
            or self._zones.is_watched(each.detection.box, frame.width, frame.height)
        )
        stopwatch.lap("track")
        left_out = max(0, len(detections) - MAX_FACES)
        if found.is_full:
            self._ignored = len(found.detections) - len(detections)
        return FrameTracks(frame, tracks, stopwatch.stage_ms, left_out, self._ignored)

    @property
    def leaves_look(self) -> bool:
        """Whether the last frame of ``detect`` has left a full look for ``finish_look``."""
        return self._finder is not None and self._finder.leaves_look

    def finish_look(self) -> None:
        """Take the full look that the last frame of ``detect`` has left for later, if any.

        To be called in the thread of ``detect`` while no frame waits for it. Without this call the
        next ``detect`` takes it, with the same results. Its time counts to the next frame's.
        """
        if self._finder is not None:
            self._finder.finish_look()

    def classify(self, tracked: FrameTracks, *, keeps_rate: bool = False) -> FrameState:
        """Assess the quality of each face and predict the expression of the usable ones.

        With ``expression.faces_per_frame`` they take turns, and with ``keep_unchanged`` those that
        have not changed are left out; they keep their newest prediction. A face on which the
        translator or the expression network fails stays in the result, without a prediction, with
        the reason.

        Then the face mesh measures faces, if it is on, and their expressions are predicted with
        its coefficients, if the expression network has a head for them.

        Args:
            tracked: from ``detect``.
            keeps_rate: measure only faces for which there is time before the next frame.
        """
        stopwatch = Stopwatch()
        frame = tracked.frame
        qualities = [
            assess(frame.luma, each.detection.box, each.detection.landmarks, self._config.quality)
            for each in tracked.tracks
        ]
        stopwatch.lap("quality")
        assessed = list(zip(tracked.tracks, qualities, strict=True))
        boxes = {track.id: track.detection.box for track, quality in assessed if quality.usable}
        to_read = self._readings.begin(frame, boxes, self._faces_per_frame)
        faces = tuple(
            self._face_state(frame, track, quality, stopwatch, is_due=track.id in to_read)
            for track, quality in assessed
        )
        if self._heads is not None:
            self._heads.begin((track.id for track in tracked.tracks), frame.sensor_ns)
        events: list[Detail] = []
        if self._mesh is not None:
            before_ms = sum(tracked.stage_ms.values()) if self._has_one_core else 0.0
            faces, events = self._with_meshes(
                self._mesh, frame, faces, stopwatch, before_ms if keeps_rate else None
            )
        faces = tuple(self._smoothed(frame, face) for face in faces)
        stopwatch.lap("smooth")
        stage_ms = {**tracked.stage_ms, **stopwatch.stage_ms}
        return FrameState(tracked.frame, faces, stage_ms, tracked.ignored, tuple(events))

    def step(self, frame: Frame) -> FrameState:
        """Run ``detect`` and ``classify`` on ``frame``, in the calling thread.

        Raises:
            InferenceError: the detector failed on this frame.
        """
        return self.classify(self.detect(frame))

    def _find(self, frame: Frame, stopwatch: Stopwatch) -> Found:
        """Return the faces of ``frame``, highest score first."""
        if self._finder is None:
            return Found(self._detector.detect(frame, stopwatch))
        return self._finder.find(frame, self._tracker.expected(frame.sensor_ns), stopwatch)

    def _face_state(
        self, frame: Frame, track: Track, quality: Quality, stopwatch: Stopwatch, *, is_due: bool
    ) -> FaceState:
        detection = track.detection
        seat = self._zones.seat(detection.box, frame.width, frame.height)
        if not quality.usable:
            return FaceState(track, quality, seat=seat)
        if not is_due:
            kept = self._readings.kept(track.id)
            age_ns = frame.sensor_ns - kept.sensor_ns
            return FaceState(track, quality, kept.prediction, kept.smoothed, seat, age_ns)
        try:
            prediction = self._expression.predict(frame, detection.box, stopwatch, self._translator)
        except InferenceError:
            quality = replace(quality, usable=False, reasons=(*quality.reasons, INFERENCE_FAILED))
            return FaceState(track, quality, seat=seat)
        return FaceState(track, quality, prediction, seat=seat)

    def _smoothed(self, frame: Frame, face: FaceState) -> FaceState:
        """Return a face that was read in this frame with its mesh's head, smoothed; else itself."""
        prediction, track = face.prediction, face.track
        if prediction is None or face.smoothed is not None:
            return face
        if self._heads is not None:
            coefficients = self._heads.coefficients(track.id, frame.sensor_ns)
            if coefficients is not None:
                prediction = self._expression.with_mesh(prediction, coefficients)
        smoothed = self._affect.update(track.id, prediction, frame.sensor_ns)
        self._readings.note(frame, track.id, track.detection.box, prediction, smoothed)
        return replace(face, prediction=prediction, smoothed=smoothed)

    def _with_meshes(
        self,
        network: FaceMeshNetwork,
        frame: Frame,
        faces: Sequence[FaceState],
        stopwatch: Stopwatch,
        before_ms: float | None,
    ) -> tuple[tuple[FaceState, ...], list[Detail]]:
        """Return the faces, those with a mesh whose turn it is, and the events of the eyes.

        ``before_ms``: what other stages took of the time up to the next frame; None: it does not
        matter how long the mesh takes.
        """
        stopwatch.lap("classify")  # what came since the last lap is not the mesh
        # a face that is turned away is not read, but its pose says so
        places = {
            face.track.id: place
            for place, face in enumerate(faces)
            if face.quality.usable or face.quality.reasons == (TURNED_AWAY,)
        }
        measured = list(faces)
        seats = {face.track.id: face.seat for face in faces}
        events = self._lids.begin(seats, frame.sensor_ns)
        for track in self._mesh_turns.begin(places, frame.sensor_ns):
            spent_ms = sum(stopwatch.stage_ms.values())
            if before_ms is not None and not self._mesh_turns.has_time(before_ms + spent_ms):
                break
            place = places[track]
            try:
                mesh = network.measure(frame.luma, faces[place].track.detection, stopwatch)
            except InferenceError:
                mesh = None
                stopwatch.lap("mesh")
            took_ms = sum(stopwatch.stage_ms.values()) - spent_ms
            self._mesh_turns.note(track, took_ms)
            if mesh is not None:
                if self._heads is not None:
                    self._heads.note(track, mesh.coefficients, frame.sensor_ns)
                openness = (mesh.left_eye + mesh.right_eye) / 2
                lids, found = self._lids.update(track, openness, frame.sensor_ns, seats[track])
                events += found
                measured[place] = replace(faces[place], mesh=mesh, lids=lids)
        return tuple(measured), events


def _tracking_config(config: Config) -> TrackingConfig:
    """Return the tracking configuration; for isolated pictures, weak faces appear at once.

    Pictures that are more than ``vanish_s`` apart cannot confirm each other's detections: waiting
    for a second detection would only lose those faces.
    """
    source, tracking = config.source, config.tracking
    if isinstance(source, ImagesSource) and source.rate_hz * tracking.vanish_s < 1:
        return tracking.model_copy(update={"appear_s": 0.0})
    return tracking
