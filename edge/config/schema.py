"""Every section of the configuration but the source; units are in the names."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from edge.config.section import Prior, Seconds, Section, Share, Threads, matching
from edge.config.sources import DemoSource, SourceConfig
from edge.vocabulary import ExpressionName

IPC_PATH_BYTES_MAX = 107  # of a Unix socket on Linux

_LOOPBACK = re.compile(r"(?:127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5}|\*)")


def is_loopback(address: str, *, any_port: bool = False) -> bool:
    """Return whether ``address`` is ``HOST:PORT`` of this machine alone.

    ``any_port``: ``*`` is a port, too; the operating system then chooses one.
    """
    match = _LOOPBACK.fullmatch(address)
    if not match:
        return False
    return any_port if match[1] == "*" else 0 < int(match[1]) < 65536


LAWFUL_PURPOSE = "reading emotions needs a declared lawful purpose (see README, Limits and law)"

DeviceName = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9-]{0,31}",
        'a-z, 0-9 and "-", at most 32 characters, beginning with a letter or digit',
    ),
]


class DeviceConfig(Section):
    """Which device this is, and what it may be used for."""

    name: DeviceName = "edge"
    purpose: Literal["research-consent", "medical", "safety"] | None = None


class DetectorConfig(Section):
    """Which network finds faces, and how sure it must be."""

    model: str = Field("centerface-320x192", min_length=1)
    artifact: str = Field("auto", min_length=1)
    threshold: Share = 0.5
    nms_iou: Share = 0.3
    threads: Threads = 1


class TranslatorConfig(Section):
    """Which network makes a visible-light face of a near-infrared one; without a model: none."""

    model: str = ""
    artifact: str = Field("auto", min_length=1)
    threads: Threads = 1


class ExpressionConfig(Section):
    """Which network reads expression, valence and arousal, and what is likely beforehand.

    ``priors`` says how often expressions are shown here, as shares of all faces; what is not named
    shares the rest equally. Empty: all as often.
    """

    model: str = Field("expression-nir", min_length=1)
    artifact: str = Field("auto", min_length=1)
    threads: Threads = 1
    priors: dict[ExpressionName, Prior] = Field({})

    @field_validator("priors", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("expected shares by expression, such as { neutral = 0.7 }")
        return value

    @field_validator("priors")
    @classmethod
    def _of_a_whole(cls, value: dict[str, float]) -> dict[str, float]:
        total, all_named = sum(value.values()), len(value) == len(get_args(ExpressionName))
        if all_named and abs(total - 1) > 0.001:
            raise ValueError(f"they sum to {total:.4g}; expected 1, as all are named")
        if not all_named and total >= 1:
            raise ValueError(f"they sum to {total:.4g}; expected less than 1, or all eight named")
        return value


class TrackingConfig(Section):
    """When a detection is the face of before, and when a face has appeared or left."""

    iou_min: Share = 0.3
    appear_s: float = Field(0.2, ge=0, le=60)
    appear_score: Share = 0.6
    vanish_s: Seconds = 1.0


class QualityConfig(Section):
    """Limits beyond which a face is not read; ``edge.vision.quality`` explains each measure."""

    # Measured (python -m benchmarks thresholds): 103 true NIR faces, spoiled by degrees. Beyond the
    # limit fewer than four fifths of those keep their label that would keep it from one frame of
    # the same face to another. The bundled network: 26.9 px, 0.032, 0.111, never, 0.123; those
    # before it: 26 to 33 px, 0.032, 0.130, 0.908, 0.110 to 0.128. Those are differences of chance:
    # the limits stayed. Turned heads could not be tried.
    size_min_px: float = Field(29.0, ge=1, le=4096)
    sharpness_min: float = Field(0.03, ge=0, le=100)
    brightness_min: Share = 0.13
    brightness_max: Share = 0.91
    saturated_max: Share = 0.13
    yaw_max_deg: float = Field(60.0, gt=0, le=90)

    @model_validator(mode="after")
    def _some_light_is_right(self) -> "QualityConfig":
        if self.brightness_min >= self.brightness_max:
            raise ValueError(
                f"expected brightness_min below brightness_max, received {self.brightness_min}"
                f" and {self.brightness_max}"
            )
        return self


class AffectConfig(Section):
    """How readings are smoothed over time, and what a personal baseline must be like."""

    smoothing_s: Seconds = 0.5
    # one moment in a hundred of a face at rest puts another expression ahead by 0.069 (thresholds)
    label_margin: Share = 0.07
    label_hold_s: float = Field(0.3, ge=0, le=60)
    baseline_min_s: float = Field(10.0, gt=0, le=3600)
    # boxes beside that of one resting face vary its valence by 0.07 and its arousal by 0.10
    # (medians of 19 photographs, 12 boxes; 0.10 and 0.15 in one of twenty), other expressions of a
    # person by 0.3; of the resting faces none was read as happy or surprised by more than 0.4, of
    # happy and surprised ones half
    baseline_spread_max: float = Field(0.2, gt=0, le=1)
    baseline_held_max: Share = 0.4


class PublishConfig(Section):
    """Where results leave, and where requests are answered; an empty ``service_endpoint``: not."""

    endpoint: str = "tcp://127.0.0.1:5555"
    service_endpoint: str = "tcp://127.0.0.1:5556"
    drain_s: float = Field(2.0, ge=0, le=60)
    high_water: int = Field(1000, ge=1, le=1_000_000)

    @field_validator("endpoint", "service_endpoint")
    @classmethod
    def _local_only(cls, value: str, info: ValidationInfo) -> str:
        """Refuse what others could reach: nobody can be authenticated before keys exist."""
        if value == "" and info.field_name == "service_endpoint":
            return value
        if value.startswith("ipc://") and len(value) > len("ipc://"):
            if len(value.removeprefix("ipc://").encode()) > IPC_PATH_BYTES_MAX:
                raise ValueError(f"expected a path of at most {IPC_PATH_BYTES_MAX} bytes")
            return value
        if value.startswith("tcp://") and is_loopback(value.removeprefix("tcp://"), any_port=True):
            return value
        raise ValueError(
            "expected ipc://PATH or tcp://127.0.0.1:PORT; binding beyond this machine needs"
            " CURVE keys, which this version does not have"
        )

    @model_validator(mode="after")
    def _two_endpoints(self) -> "PublishConfig":
        # of two sockets on one path the second would silently take it from the first
        if self.endpoint == self.service_endpoint and not self.endpoint.endswith(":*"):
            raise ValueError(
                f"endpoint and service_endpoint are both {self.endpoint!r}; expected two"
            )
        return self


class JournalConfig(Section):
    """Where the identity of the stream, and later the journal, is kept."""

    path: str = ""

    @property
    def state_dir(self) -> Path | None:
        """The folder; None where none is configured."""
        return Path(self.path) if self.path else None


class MetricsConfig(Section):
    """Where Prometheus scrapes; empty turns it off."""

    address: str = "127.0.0.1:9108"

    @field_validator("address")
    @classmethod
    def _local_only(cls, value: str) -> str:
        if value == "":
            return value
        if is_loopback(value):
            return value
        raise ValueError("expected 127.0.0.1:PORT, or an empty string for no metrics")


class LimitsConfig(Section):
    """When the worker is given up and a new one started."""

    stall_s: Seconds = 2.0
    inference_s: Seconds = 3.0
    start_s: Seconds = 30.0
    worker_rss_mb: int | Literal["auto"] = "auto"
    inference_errors: int = Field(10, ge=1, le=1000)

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
    tracking: TrackingConfig = TrackingConfig()
    quality: QualityConfig = QualityConfig()
    affect: AffectConfig = AffectConfig()
    publish: PublishConfig = PublishConfig()
    journal: JournalConfig = JournalConfig()
    metrics: MetricsConfig = MetricsConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _purpose_declared(self) -> "Config":
        if self.device.purpose is None and self.source.kind != "demo":
            raise ValueError(
                'device.purpose: not set; expected "research-consent", "medical" or "safety": '
                + LAWFUL_PURPOSE
            )
        return self
