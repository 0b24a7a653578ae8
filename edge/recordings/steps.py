"""Runs the pipeline over one recording: its results and events, in order, in one thread.

The events are those that the daemon's worker and hub report of the same file.
"""

from collections.abc import Callable, Iterator
from typing import Final

from edge.config import Config, redact
from edge.errors import ConfigError, EndOfStream, FrameRefused, InferenceError
from edge.participants.participants import Participants
from edge.protocol.events import (
    Detail,
    FolderOpened,
    FrameRefusedDetail,
    InferenceFailed,
    MediaJump,
    SourceStateChanged,
)
from edge.protocol.messages import FACES
from edge.protocol.participant_events import SeatAssigned
from edge.recordings.result import Result
from edge.recordings.settings import Selection
from edge.vision.face_message import faces_json
from edge.vision.left_out import LeftOut
from edge.vision.pace import Pace
from edge.vision.picture_state import PictureWatch
from edge.vision.pipeline import Pipeline
from edge.vision.sources import Source, open_source
from edge.vision.values import Frame, FrameState

ALL: Final = Selection()
"""Every picture."""


class Steps:
    """The results and events of one recording; iterate once. Not thread-safe.

    Args:
        networks: a pipeline whose networks are used; its state is not.
        config: its source is the recording.
        selection: the pictures to analyse; all others are decoded and left out.
        on_picture: takes the time within the recording of each picture that was decoded, ns, also
            of those that are left out: there may be hours of them before the first result.

    Attributes:
        frames: results so far.
        captured: pictures of the recording so far, also those left out or not read.
        first_ns: time within the recording of its first picture that could be read.

    Raises:
        ConfigError: while iterating: the recording cannot be opened, or none of its pictures can
            be read.
        InferenceError: while iterating: ``limits.inference_errors`` failures in a row.
    """

    def __init__(
        self,
        networks: Pipeline,
        config: Config,
        selection: Selection = ALL,
        on_picture: Callable[[int], None] = lambda _ns: None,
    ) -> None:
        self._networks = networks
        self._config = config
        self._selection = selection
        self._on_picture = on_picture
        self._refused = 0  # since the last result
        self._dropped = 0  # before the last result
        self._left_out = LeftOut()
        self._pictures = PictureWatch(config)
        self._participants = Participants(
            config.affect, vanish_s=config.tracking.vanish_s, zones=config.zones
        )
        self.frames = self.captured = self.first_ns = 0

    @property
    def lost(self) -> int:
        """Pictures so far that could not be read, also those after the last result."""
        return self._dropped + self._refused

    def __iter__(self) -> Iterator[Result | Detail]:
        for name, seat in self._config.zones.seats.items():
            if seat.participant is not None:
                yield SeatAssigned(seat=name, participant=seat.participant)
        size = self._networks.detector.input_size
        with open_source(self._config.source, small_size=size) as source:
            if source.details is not None:
                yield FolderOpened.model_validate(source.details)
            pipeline = self._networks.renewed(self._suited(source))
            failures = 0
            for item in self._read(source):
                if not isinstance(item, Frame):
                    yield item
                    continue
                try:
                    tracks = pipeline.detect(item)
                    failures = 0
                except InferenceError as error:
                    failures += 1
                    self._refused += 1
                    if failures == 1:
                        yield InferenceFailed(reason=str(error))
                    if failures >= self._config.limits.inference_errors:
                        raise
                    continue
                if (left_out := self._left_out.update(tracks)) is not None:
                    yield left_out
                state = pipeline.classify(tracks)
                yield self._result(state)
                yield from map(self._participants.with_code, state.events)
                yield from self._participants.take_events()

    def _suited(self, source: Source) -> Config:
        """Return the configuration for the rate at which pictures are analysed.

        Pictures that are more than ``vanish_s`` apart cannot confirm each other's detections:
        then weak faces appear at once, too, as in a folder of isolated pictures.
        """
        tracking, hz = self._config.tracking, source.expected_hz
        if hz is None or hz / self._selection.every * tracking.vanish_s >= 1:
            return self._config
        at_once = tracking.model_copy(update={"appear_s": 0.0})
        return self._config.model_copy(update={"tracking": at_once})

    def _read(self, source: Source) -> Iterator[Frame | Detail]:
        """Yield the selected pictures, with the events before each of them."""
        selection = self._selection
        start_ns = round(selection.start_s * 1e9)
        end_ns = None if selection.end_s is None else round(selection.end_s * 1e9)
        pace = Pace(source.expected_hz)
        refusal: FrameRefused | None = None
        is_readable = is_running = False
        position_ns = 0
        while True:
            try:
                frame = source.read()
            except FrameRefused as error:
                refusal = error
                self._refused += error.count
                self.captured += error.count
                self._on_picture(position_ns)
                yield FrameRefusedDetail(reason=redact(str(error)))
                continue
            except EndOfStream:
                if refusal is not None and not is_readable:
                    raise ConfigError(f"not one picture can be read: {refusal}") from refusal
                return
            if not is_readable:
                is_readable, self.first_ns = True, frame.sensor_ns
            if end_ns is not None and frame.sensor_ns >= end_ns:
                return
            self.captured = frame.index + 1
            position_ns = frame.sensor_ns
            self._on_picture(position_ns)
            if frame.sensor_ns < start_ns:
                self._refused = 0
                continue
            if (jump_s := pace.jump_s(frame.sensor_ns)) is not None:
                yield MediaJump.of(jump_s, frame.index)
            if frame.index % selection.every:
                continue
            if (change := self._pictures.update(frame)) is not None:
                yield change
            if not is_running:
                is_running = True
                yield SourceStateChanged(state="running", reason="")
            yield frame

    def _result(self, state: FrameState) -> Result:
        frame = state.frame
        faces = FACES.validate_json(faces_json(state.faces, self._config.mesh))
        if self._config.zones.seats:
            faces = self._participants.update(faces, frame.sensor_ns, now_ns=frame.sensor_ns)
        dropped, self._refused = self._refused, 0
        self._dropped += dropped
        self.frames += 1
        return Result(
            index=frame.index,
            media_ns=frame.sensor_ns,
            width=frame.width,
            height=frame.height,
            faces=tuple(faces),
            dropped=dropped,
            ignored=state.ignored,
            file=frame.file,
            page=frame.page,
        )
