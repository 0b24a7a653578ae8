"""Every section of the configuration except the source. Units are in the names."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from edge.config.alarms import AlarmsConfig
from edge.config.network import MetricsConfig, SecurityConfig, is_address, is_local
from edge.config.preview import PreviewConfig
from edge.config.section import Prior, Rate, Seconds, Section, Share, Threads, matching, no_address
from edge.config.sources import DemoSource, SourceConfig
from edge.config.zones import ZonesConfig
from edge.vocabulary import PUBLISH_ENDPOINT, SERVICE_ENDPOINT, ExpressionName

IPC_PATH_BYTES_MAX = 107  # of a Unix socket on Linux
LAWFUL_PURPOSE = "reading emotions needs a declared lawful purpose (see README, Limits and law)"

DeviceName = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9-]{0,31}",
        'a-z, 0-9 and "-", at most 32 characters, beginning with a letter or digit',
    ),
]


class DeviceConfig(Section):
    """Name of this device, and the declared purpose of its use."""

    name: DeviceName = "edge"
    purpose: Literal["research-consent", "medical", "safety"] | None = None


class DetectorConfig(Section):
    """The face detector, the lowest score of a detection, non-maximum suppression, the schedule.

    ``schedule``: with ``region`` a known face is found again by ``region_model`` in a square round
    the place where it is expected, and ``model`` searches the full frame every ``full_every_s`` of
    sensor time, or at once where that is not enough.
    """

    model: str = Field("centerface-320x192", min_length=1)
    artifact: str = Field("auto", min_length=1)
    schedule: Literal["every-frame", "region"] = "region"
    full_every_s: float = Field(0.5, ge=0.001, le=60)
    region_model: str = Field("centerface-96x96", min_length=1)
    region_artifact: str = Field("auto", min_length=1)
    threshold: Share = 0.5
    nms_iou: Share = 0.3
    threads: Threads = "auto"

    @property
    def region(self) -> "DetectorConfig":
        """The configuration of the detector of regions; its ``model`` is empty without regions."""
        return self.model_copy(
            update={
                "model": self.region_model if self.schedule == "region" else "",
                "artifact": self.region_artifact,
                # an answer below the threshold asks for a full look, which decides
                "threshold": min(self.threshold, 0.5),
            }
        )


class TranslatorConfig(Section):
    """The network that translates NIR faces to visible light; an empty ``model`` turns it off."""

    model: str = ""
    artifact: str = Field("auto", min_length=1)
    threads: Threads = "auto"


class ExpressionConfig(Section):
    """The network for expression, valence and arousal, and the class priors.

    ``priors`` gives the expected share of an expression among all faces. Expressions that are not
    named share the remainder equally. Empty: a uniform class prior. They change labels
    and probabilities, not valence and arousal.

    ``faces_per_frame``: so many faces are read in a frame, in turns; 0: all. A face that is not
    read keeps its reading, for a second at most (see ``edge.vision.expression.turns``).
    ``keep_unchanged``: a face that has not changed beyond noise is not read, either.
    """

    model: str = Field("expression-nir", min_length=1)
    artifact: str = Field("auto", min_length=1)
    threads: Threads = "auto"
    faces_per_frame: int = Field(0, ge=0, le=48)
    keep_unchanged: bool = False
    priors: dict[ExpressionName, Prior] = Field({})

    @field_validator("priors", mode="before")
    @classmethod
    def _is_table(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("expected shares by expression, such as { neutral = 0.7 }")
        return value

    @field_validator("priors")
    @classmethod
    def _sums_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        total, all_named = sum(value.values()), len(value) == len(get_args(ExpressionName))
        if all_named and abs(total - 1) > 0.001:
            raise ValueError(f"the sum is {total:.4g}; expected 1, as all eight are named")
        if not all_named and total >= 1:
            raise ValueError(f"the sum is {total:.4g}; expected less than 1, or all eight named")
        return value


class MeshConfig(Section):
    """The face mesh: head pose, openness of eyes and mouth, action coefficients; off.

    ``rate_hz``: how often each face is measured, by sensor time; 0: in every frame if there is
    time. ``faces_per_frame``: at most so many in a frame, those first that were not measured for
    the longest. ``coefficients``: which of the 52 a message holds. ``landmarks``: whether it holds
    the 478 points. ``eyes_closed_s``: eyes that stay closed for so long are reported.
    """

    enabled: bool = False
    model: str = Field("face-mesh", min_length=1)
    artifact: str = Field("auto", min_length=1)
    threads: Threads = "auto"
    rate_hz: float = Field(0.0, ge=0, le=1000)
    faces_per_frame: int = Field(4, ge=1, le=48)
    coefficients: Literal["none", "summary", "all"] = "summary"
    landmarks: bool = False
    eyes_closed_s: float = Field(2.0, ge=0.5, le=600)

    @model_validator(mode="after")
    def _report_fits(self) -> "MeshConfig":
        # with 48 faces the report of a frame has 64 KiB, of the 128 KiB that the hub accepts
        most = 4 if self.landmarks else 24 if self.coefficients == "all" else 48
        if self.faces_per_frame > most:
            raise ValueError(
                f"faces_per_frame: {self.faces_per_frame} is too many for one message with"
                f" {'landmarks' if self.landmarks else 'all coefficients'}; expected at most {most}"
            )
        return self


class TrackingConfig(Section):
    """When a detection continues a track, and when a track begins and ends."""

    iou_min: Share = 0.3
    appear_s: float = Field(0.2, ge=0, le=60)
    appear_score: Share = 0.6
    vanish_s: Seconds = 1.0


class QualityConfig(Section):
    """Limits beyond which a face is not classified; ``edge.vision.quality`` defines each."""

    # Measured by `python -m benchmarks thresholds` on 103 real NIR photographs, degraded in steps.
    # At the limit, label agreement falls below 0.8 of the agreement between two undegraded frames.
    # docs/accuracy.md has the measurements for each network. They differ by no more than chance, so
    # the limits were not changed for a new network. The limit of yaw is not measured.
    size_min_px: float = Field(29.0, ge=1, le=4096)
    sharpness_min: float = Field(0.03, ge=0, le=100)
    brightness_min: Share = 0.13
    brightness_max: Share = 0.91
    saturated_max: Share = 0.13
    yaw_max_deg: float = Field(60.0, gt=0, le=90)

    @model_validator(mode="after")
    def _brightness_range_not_empty(self) -> "QualityConfig":
        if self.brightness_min >= self.brightness_max:
            raise ValueError(
                f"expected brightness_min below brightness_max, received {self.brightness_min}"
                f" and {self.brightness_max}"
            )
        return self


class AffectConfig(Section):
    """Smoothing of predictions over time, and limits of a personal baseline."""

    smoothing_s: Seconds = 0.5
    # chosen together on 156 photographs that hold still and change, before the network had fitted
    # heads (docs/accuracy.md)
    label_margin: Share = 0.05
    label_hold_s: float = Field(0.15, ge=0, le=60)
    baseline_min_s: Seconds = 10.0
    # Measured on 19 photographs of neutral faces with 12 jittered crops each: valence varies by
    # 0.07 and arousal by 0.10 (medians; 0.10 and 0.15 in 5 % of faces). Other expressions of the
    # same person differ by 0.3. No neutral face had more than 0.4 for happy or surprise; half of
    # the happy and surprised faces had.
    baseline_spread_max: float = Field(0.2, gt=0, le=1)
    baseline_held_max: Share = 0.4


class PublishConfig(Section):
    """Endpoints of messages and of requests; an empty ``service_endpoint`` turns requests off."""

    endpoint: str = PUBLISH_ENDPOINT
    service_endpoint: str = SERVICE_ENDPOINT
    drain_s: float = Field(2.0, ge=0, le=60)
    high_water: int = Field(1000, ge=1, le=1_000_000)
    fetch_mb_s: float = Field(64.0, ge=0.1, le=10_000)

    @field_validator("endpoint", "service_endpoint")
    @classmethod
    def _tcp_or_ipc(cls, value: str, info: ValidationInfo) -> str:
        """Check the form; whether other machines may reach it, ``Config`` checks."""
        if value == "" and info.field_name == "service_endpoint":
            return value
        if value.startswith("ipc://") and len(value) > len("ipc://"):
            if len(value.removeprefix("ipc://").encode()) > IPC_PATH_BYTES_MAX:
                raise ValueError(f"expected a path of at most {IPC_PATH_BYTES_MAX} bytes")
            return value
        address = value.removeprefix("tcp://")
        if value.startswith("tcp://") and is_address(address, any_port=True):
            return value
        if is_address(re.sub(r":\d+$", ":*", address), any_port=True):
            raise ValueError("expected a port from 1 to 65535")
        raise ValueError("expected ipc://PATH or tcp://127.0.0.1:PORT")

    @model_validator(mode="after")
    def _two_endpoints(self) -> "PublishConfig":
        # a second socket that binds the same path silently takes it from the first
        if self.endpoint == self.service_endpoint and not self.endpoint.endswith(":*"):
            raise ValueError(
                f"endpoint and service_endpoint are both {self.endpoint!r}; expected two"
            )
        return self


class JournalConfig(Section):
    """Where messages are kept, and for how long.

    ``path``: a folder; empty: in memory. ``tail``: a folder in memory-backed storage; empty:
    RUNTIME_DIRECTORY, else /dev/shm. ``keep_h``: hours of running. ``max_mb``: size, MiB.
    """

    path: Annotated[str, no_address] = ""
    tail: Annotated[str, no_address] = ""
    keep_h: float = Field(48.0, gt=0, le=100_000)
    max_mb: int = Field(2048, ge=16, le=1_000_000)

    @property
    def state_dir(self) -> Path | None:
        """The folder; None if ``path`` is empty."""
        return Path(self.path) if self.path else None


class LimitsConfig(Section):
    """Limits beyond which the hub replaces the worker, or reduces the frame rate."""

    stall_s: Seconds = 2.0
    inference_s: Seconds = 3.0
    start_s: Seconds = 30.0
    worker_rss_mb: int | Literal["auto"] = "auto"
    worker_open_files: int = Field(256, ge=64, le=65536)
    inference_errors: int = Field(10, ge=1, le=1000)
    # a Pi lowers its clock from 80 degrees on; fewer frames come first
    hot_celsius: float = Field(78.0, ge=40, le=110)
    rate_target_hz: Rate = 10.0
    rate_min_hz: Rate = 1.0
    board_root: Annotated[str, Field(min_length=1), no_address] = "/"

    @field_validator("worker_rss_mb", mode="before")
    @classmethod
    def _mebibytes_or_auto(cls, value: Any) -> Any:
        if value == "auto" or (type(value) is int and 64 <= value <= 65536):
            return value
        raise ValueError('expected "auto", or 64 to 65536')


class Config(Section):
    """The whole configuration of one daemon."""

    device: DeviceConfig = DeviceConfig()
    source: SourceConfig = DemoSource()
    detector: DetectorConfig = DetectorConfig()
    translator: TranslatorConfig = TranslatorConfig()
    expression: ExpressionConfig = ExpressionConfig()
    mesh: MeshConfig = MeshConfig()
    tracking: TrackingConfig = TrackingConfig()
    zones: ZonesConfig = ZonesConfig()
    quality: QualityConfig = QualityConfig()
    affect: AffectConfig = AffectConfig()
    publish: PublishConfig = PublishConfig()
    journal: JournalConfig = JournalConfig()
    security: SecurityConfig = SecurityConfig()
    metrics: MetricsConfig = MetricsConfig()
    limits: LimitsConfig = LimitsConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    preview: PreviewConfig = PreviewConfig()

    @model_validator(mode="after")
    def _metrics_apart(self) -> "Config":
        for key in ("endpoint", "service_endpoint"):
            if getattr(self.publish, key) == f"tcp://{self.metrics.address}":
                raise ValueError(
                    f"metrics.address: {self.metrics.address!r} is publish.{key}, too; expected"
                    " another port"
                )
        return self

    @model_validator(mode="after")
    def _preview_can_be_asked_for(self) -> "Config":
        if self.preview.enabled and not self.publish.service_endpoint:
            raise ValueError(
                "preview.enabled: nobody can open it without publish.service_endpoint; expected"
                " that endpoint, or false"
            )
        return self

    @model_validator(mode="after")
    def _network_needs_keys(self) -> "Config":
        for section in ("security", "metrics", "alarms"):
            if mistake := getattr(self, section).mistake():
                raise ValueError(f"{section}.{mistake}")
        for key in ("endpoint", "service_endpoint"):
            endpoint = getattr(self.publish, key)
            if endpoint and not is_local(endpoint) and not self.security.is_on:
                raise ValueError(
                    f"publish.{key}: {endpoint!r} can be reached by other machines, which needs"
                    " security.secret_key and security.allowed_keys; make keys with"
                    " 'affect-edge keys new NAME' (docs/security.md, Keys); expected these, or"
                    " tcp://127.0.0.1:PORT or ipc://PATH"
                )
        return self

    @model_validator(mode="after")
    def _purpose_declared(self) -> "Config":
        if self.device.purpose is None and self.source.kind != "demo":
            raise ValueError(
                'device.purpose: not set; expected "research-consent", "medical" or "safety": '
                + LAWFUL_PURPOSE
            )
        return self
