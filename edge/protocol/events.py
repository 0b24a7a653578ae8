"""Every kind of event: its name and the model of its ``detail``.

Code that emits an event passes the model; on the wire, ``EventMessage`` carries its name and
fields. A reader may parse them with the model in ``DETAILS``, and leaves an unknown event as it is.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from edge.protocol.alarm_events import AlarmCleared, AlarmRaised
from edge.protocol.detail import Detail as Detail  # noqa: PLC0414 - it belongs to this interface
from edge.protocol.lid_events import Blink, EyesClosed, EyesLost, EyesOpened
from edge.protocol.participant_events import (
    BaselineInvalid,
    BaselineReady,
    BaselineStarted,
    ParticipantAssigned,
    ParticipantReleased,
    ParticipantsLost,
    ParticipantsRestored,
    ParticipantTrackEnded,
    ParticipantTrackReturned,
    SeatAssigned,
    SessionBegan,
    SessionEnded,
    SessionErased,
    SessionResumed,
)
from edge.vocabulary import ExpressionName, PictureState, RateReason, ScheduleReason

LossReason = Literal[
    "died", "failed", "bad_report", "not_started", "start", "silent", "stuck", "too_big",
    "too_many_files",
]  # fmt: skip
LOSS_REASONS: Final[tuple[str, ...]] = get_args(LossReason)
"""Why a worker was lost."""


class PreviousEpoch(BaseModel):
    """The run before this one: its last stored number (-1: none), and whether it came to its end.

    Without its end, messages after ``last_seq`` may be missing: see ``JournalGap``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: int = Field(ge=1)
    last_seq: int = Field(ge=-1)
    ended: bool


class EpochStarted(Detail):
    """The first message of a run.

    ``priors``: class priors in use, empty for a uniform prior. ``config_sha256`` covers the whole
    configuration except the addresses of a camera and of a webhook. ``boot_id`` is null if the
    kernel does not give one. ``rotate_deg`` (clockwise) and ``flip``: how the source's pictures
    were turned. ``previous``: null for the first run of a stream, or if the storage did not answer.
    ``config``: the whole configuration in force, without secrets. ``versions`` by package.
    ``board``: name of the machine, null where unknown.
    """

    event: ClassVar[str] = "epoch_started"
    version: str
    purpose: str
    source: str
    priors: dict[ExpressionName, float]
    boot_id: str | None
    config_sha256: str
    rotate_deg: Literal[0, 90, 180, 270] = 0
    flip: Literal["none", "horizontal", "vertical"] = "none"
    previous: PreviousEpoch | None = None
    config: dict[str, Any] = Field({})
    versions: dict[str, str] = Field({})
    board: str | None = None


class EpochEnded(Detail):
    """The last message of a run. Counts are of the whole epoch; ``messages`` includes this one."""

    event: ClassVar[str] = "epoch_ended"
    exit_code: int
    frames: int = Field(ge=0)
    dropped: int = Field(ge=0)
    captured: int = Field(ge=0)
    messages: int = Field(ge=1)


class ModelReference(BaseModel):
    """Which model runs: its name, the artifact with its sha256, and how it is run.

    ``manifest_sha256`` covers the recalibration and fitted heads, which the artifact does not
    contain. ``threads``: of a run, as configured or chosen.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    artifact: str | None = None
    runtime: str | None = None
    precision: str | None = None
    manifest_sha256: str | None = None
    threads: int | None = None


class WorkerStarted(Detail):
    """The worker has loaded and verified the networks. ``models`` is keyed by role."""

    event: ClassVar[str] = "worker_started"
    models: dict[str, ModelReference]
    memory_locked: bool


class WorkerLost(Detail):
    """A worker died, was killed, or could not be started (``not_started``).

    ``bad_report``: what it sent is no report, so that its memory may be damaged. ``restarts``
    counts them since the start of the daemon.
    """

    event: ClassVar[str] = "worker_lost"
    reason: LossReason
    restarts: int = Field(ge=1)


class WorkerUnkillable(Detail):
    """A killed worker does not die: only a reboot frees the camera."""

    event: ClassVar[str] = "worker_unkillable"


class SourceStateChanged(Detail):
    """The source of frames changed its state; ``reason`` is empty for ``running``."""

    event: ClassVar[str] = "source_state"
    state: Literal["running", "stalled", "absent"]
    reason: str


class PictureStateChanged(Detail):
    """The pictures begin or cease to show something; ``reason`` is empty for ``normal``.

    ``index`` and ``sensor_ns``: of the first frame that was so. ``brightness`` (mean),
    ``brightest`` (of the brightest areas) and ``contrast`` (between neighbouring areas, as a share
    of ``brightest``): 0..1, null for tiny pictures; see ``edge.vision.picture``.
    """

    event: ClassVar[str] = "picture_state"
    state: PictureState
    reason: str
    index: int = Field(ge=0)
    sensor_ns: int
    brightness: float | None
    brightest: float | None
    contrast: float | None


class CameraOpened(Detail):
    """A Pi camera was opened. ``seen_width`` and ``seen_height``: shares of the sensor, 0..1."""

    event: ClassVar[str] = "camera_opened"
    camera: int = Field(ge=0)
    model: str
    sensor_mode: str
    bit_depth: int | None
    rate_hz: float = Field(ge=0)
    picamera2: str
    libcamera: str
    seen_width: float | None = None
    seen_height: float | None = None


class FolderOpened(Detail):
    """A folder of pictures was opened.

    ``files``: picture files in it. ``left_out``: how many other entries, by suffix or kind, such as
    ``{".heic": 3, "folder": 1}``. ``bits``: effective depth of its pictures with 16 bits, null if
    none was seen.
    """

    event: ClassVar[str] = "folder_opened"
    files: int = Field(ge=1)
    left_out: dict[str, int]
    bits: int | None


RecordedBy = Literal["option", "container", "none"]


class FileOpened(Detail):
    """A video file was opened; sent before its first frame.

    ``file``: its name without folders. ``sha256``: null for a large file; the event ``file_hashed``
    follows then. ``duration_s``: as the container states it, null where it does not.
    ``recorded_unix_ns``: when its first frame was recorded, by ``recorded_by``: the option
    ``source.recorded_at``, the container's date, or ``none``, and then null.
    """

    event: ClassVar[str] = "file_opened"
    file: str
    bytes: int = Field(ge=0)
    sha256: str | None
    duration_s: float | None
    recorded_unix_ns: int | None
    recorded_by: RecordedBy


class FileHashed(Detail):
    """The sha256 of a large file is known; null if it is not, with the reason."""

    event: ClassVar[str] = "file_hashed"
    file: str
    sha256: str | None
    reason: str


class FrameRefusedDetail(Detail):
    """A picture cannot be decoded; of consecutive ones of a camera, only the first is reported.

    At the end of a file, ``reason`` may give a number of pictures that its decoder left out.
    """

    event: ClassVar[str] = "frame_refused"
    reason: str


class MediaJump(Detail):
    """The times of a file jump forward; a paced file does not wait for the missing time.

    ``seconds``: between two pictures. ``index``: of the second one.
    """

    event: ClassVar[str] = "media_jump"
    seconds: float = Field(ge=0)
    index: int = Field(ge=0)
    reason: str

    @classmethod
    def of(cls, seconds: float, index: int) -> Self:
        """Return the detail with its reason."""
        reason = f"the times of the file jump by {seconds:.1f} s before frame {index}; no wait"
        return cls(seconds=seconds, index=index, reason=reason)


class MediaRepeated(Detail):
    """A file was read to its end, and begins again; indices and times go on.

    ``repeat``: how many times it was read before. ``index``: of the first picture of this time.
    """

    event: ClassVar[str] = "media_repeated"
    repeat: int = Field(ge=1)
    index: int = Field(ge=0)


class InferenceFailed(Detail):
    """The detector failed on a frame; of consecutive failures, only the first is reported."""

    event: ClassVar[str] = "inference_failed"
    reason: str


class FacesLeftOut(Detail):
    """More faces are in view than a message holds; with ``left_out`` 0, this has ended.

    ``kept``: faces in the message. ``index``: of the frame.
    """

    event: ClassVar[str] = "faces_left_out"
    left_out: int = Field(ge=0)
    kept: int = Field(ge=0)
    index: int = Field(ge=0)


class RateLimited(Detail):
    """The frame rate is limited to one frame of ``divisor``; with 1 this has ended.

    ``soc_celsius``: temperature of the chip, null where unknown.
    """

    event: ClassVar[str] = "rate_limited"
    divisor: int = Field(ge=1)
    reason: RateReason | Literal["none"]
    soc_celsius: float | None


class ScheduleChanged(Detail):
    """Less is done for each frame than before, or more.

    ``faces_per_frame``: so many faces are read in a frame, in turns; 0: all. ``full_every_s``:
    longest time between searches of the full picture, null where each is searched. ``mesh_every``:
    the mesh measures in one frame of so many, 0: in none; null where it is off. ``bound_by``: why
    it is not as configured; empty where it is.
    """

    event: ClassVar[str] = "schedule_changed"
    faces_per_frame: int = Field(ge=0)
    full_every_s: float | None
    mesh_every: int | None = Field(None, ge=0)
    bound_by: list[ScheduleReason]


class ClockStep(Detail):
    """The wall clock jumped by ``step_ns`` (more than 50 ms) against the monotonic clock."""

    event: ClassVar[str] = "clock_step"
    step_ns: int


class Mark(Detail):
    """An operator marked a moment with a text."""

    event: ClassVar[str] = "mark"
    text: str


class JournalStateChanged(Detail):
    """The journal begins or ceases to keep messages in memory only; ``reason`` is empty for ok."""

    event: ClassVar[str] = "journal_state"
    state: Literal["ok", "memory"]
    reason: str


class JournalGap(Detail):
    """Messages of an epoch cannot be fetched any more, or may be lost.

    ``last_missing`` is null if their number is not known. ``reason``: ``power_cut``, ``tail_lost``
    (an unclean end without the tail), ``overflow`` (storage failed for too long), ``trimmed``
    (deleted before a known consumer had them), ``damaged``, ``unknown`` (the file is an older copy,
    or was deleted).
    """

    event: ClassVar[str] = "journal_gap"
    epoch: int = Field(ge=1)
    first_missing: int = Field(ge=0)
    last_missing: int | None
    reason: str


class JournalSetAside(Detail):
    """A damaged file was renamed to ``file`` and a new one started."""

    event: ClassVar[str] = "journal_set_aside"
    file: str
    reason: str


class PreviewOpened(Detail):
    """An operator opened the preview: for ``minutes`` at most, small pictures can be asked for."""

    event: ClassVar[str] = "preview_opened"
    minutes: float = Field(gt=0)
    width_px: int = Field(ge=1)


class PreviewClosed(Detail):
    """The preview is closed: ``expired``, ``requested`` or ``stopped`` (the daemon ended).

    ``pictures``: how many were handed out.
    """

    event: ClassVar[str] = "preview_closed"
    reason: str
    pictures: int = Field(ge=0)


DETAILS: Final[Mapping[str, type[Detail]]] = {
    each.event: each
    for each in (
        EpochStarted, EpochEnded, WorkerStarted, WorkerLost, WorkerUnkillable, SourceStateChanged,
        PictureStateChanged, CameraOpened, FolderOpened, FileOpened, FileHashed,
        FrameRefusedDetail, MediaJump, MediaRepeated,
        InferenceFailed, FacesLeftOut, Blink, EyesClosed, EyesOpened, EyesLost, RateLimited,
        ScheduleChanged,
        ClockStep, Mark,
        ParticipantAssigned, SeatAssigned, ParticipantTrackEnded, ParticipantTrackReturned,
        ParticipantReleased, ParticipantsRestored, ParticipantsLost,
        BaselineStarted, BaselineReady, BaselineInvalid,
        SessionBegan, SessionResumed, SessionEnded, SessionErased,
        JournalStateChanged, JournalGap, JournalSetAside,
        AlarmRaised, AlarmCleared, PreviewOpened, PreviewClosed,
    )
}  # fmt: skip
"""Event name -> model of its detail."""

FREQUENT: Final = frozenset({Blink.event, MediaRepeated.event})
"""Events that may come many times a minute: views leave them out of their short lists of events,
where they would push off marks and alarms."""
