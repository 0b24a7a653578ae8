"""Configuration: one TOML file, the environment and ``--set``, validated once and then frozen.

Later layers win: defaults, file, environment (``AFFECT_EDGE__SECTION__KEY``), ``--set a.b=value``,
and what the command line says outright. Unknown keys are refused; units are in the names.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edge.errors import ConfigError

ENVIRONMENT_PREFIX = "AFFECT_EDGE__"
IPC_PATH_BYTES_MAX = 107  # of a Unix socket on Linux

Seconds = Annotated[float, Field(gt=0, le=3600)]
Wait = Annotated[float, Field(gt=0, le=8)]
"""Seconds a source may wait inside a call: the hub replaces a worker after 10 s in one."""
Share = Annotated[float, Field(ge=0, le=1)]
Threads = Annotated[int, Field(ge=1, le=16)]
Prior = Annotated[float, Field(gt=0, lt=1)]
ExpressionName = Literal[
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"
]
"""``edge.vision.values.EXPRESSIONS``, which comes with NumPy."""
Pixels = Annotated[int, Field(ge=16, le=16384)]


class Section(BaseModel):
    """A part of the configuration: strict types, unknown keys refused, frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*")
    @classmethod
    def _speakable(cls, value: Any) -> Any:
        """Refuse what no path, address or name can hold: the system's calls would raise on it."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("expected text without a NUL character")
        return value


class DeviceConfig(Section):
    """Which device this is, and what it may be used for."""

    name: str = Field("edge", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    purpose: Literal["research-consent", "medical", "safety"] | None = None


class DemoSource(Section):
    """The bundled clip of a real face: needs nothing and ends by itself."""

    kind: Literal["demo"] = "demo"
    paced: bool = True


class ImagesSource(Section):
    """A folder of pictures, read in the order of their names."""

    kind: Literal["images"]
    path: str = Field(min_length=1)
    rate_hz: float = Field(0.5, gt=0, le=1000)
    paced: bool = True


class VideoSource(Section):
    """A video file, read once from beginning to end."""

    kind: Literal["video"]
    path: str = Field(min_length=1)
    paced: bool = True


class V4l2Source(Section):
    """A camera of the Video4Linux kind: USB cameras and the like."""

    kind: Literal["v4l2"]
    path: str = Field("/dev/video0", min_length=1)
    width: Pixels = 1280
    height: Pixels = 720
    rate_hz: float = Field(30.0, gt=0, le=1000)


class StreamSource(Section):
    """A network camera: RTSP or HTTP."""

    kind: Literal["stream"]
    url: str = Field(pattern=r"^(rtsps?|https?)://[^\s]+$")
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: Wait = 3.0
    read_timeout_s: Wait = 1.5


class PicameraSource(Section):
    """A Raspberry Pi camera, through the system's picamera2."""

    kind: Literal["picamera"]
    camera: int = Field(0, ge=0, le=7)
    width: Pixels = 1280
    height: Pixels = 720
    # a stall is declared after three periods: with slower ones not before the watchdog's time
    rate_hz: float = Field(30.0, ge=0.5, le=1000)
    sensor: str = Field("auto", pattern=r"^(auto|\d{2,5}x\d{2,5})$")
    transform: Literal["none", "rotate180", "hflip", "vflip"] = "none"
    exposure_us: int | None = Field(None, gt=0, le=1_000_000)
    gain: float | None = Field(None, gt=0, le=64)
    focus: float | str | None = None
    tuning: str | None = Field(None, min_length=1)
    buffer_count: int = Field(4, ge=2, le=12)
    read_timeout_s: Wait = 1.0

    @field_validator("focus", mode="before")
    @classmethod
    def _mode_or_distance(cls, value: Any) -> Any:
        """Accept dioptres: 1 / distance in metres, 0 for infinity."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value in (None, "auto", "continuous") or (number and 0 <= value <= 32):
            return value
        raise ValueError('expected "auto", "continuous", or dioptres from 0 to 32')


FileSource = DemoSource | ImagesSource | VideoSource
SourceConfig = Annotated[
    FileSource | V4l2Source | StreamSource | PicameraSource,
    Field(discriminator="kind"),
]


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
        match = re.fullmatch(r"tcp://(?:127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5}|\*)", value)
        if match and (match[1] == "*" or 0 < int(match[1]) < 65536):
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


class MetricsConfig(Section):
    """Where Prometheus scrapes; empty turns it off."""

    address: str = "127.0.0.1:9108"

    @field_validator("address")
    @classmethod
    def _local_only(cls, value: str) -> str:
        if value == "":
            return value
        match = re.fullmatch(r"(?:127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5})", value)
        if match and 0 < int(match[1]) < 65536:
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
                'device.purpose: not set; expected "research-consent", "medical" or "safety":'
                " reading emotions needs a declared lawful purpose (see README, Limits and law)"
            )
        return self


def is_file(source: SourceConfig) -> TypeGuard[FileSource]:
    """Return whether ``source`` has an end and a pace of its own: files do, cameras do not."""
    return isinstance(source, FileSource)


def source_settings(text: str) -> dict[str, Any]:
    """Return the ``[source]`` section that the word after ``--source`` stands for.

    Raises:
        ConfigError: it is none of the kinds of sources, and no such file or folder exists.
    """
    if text in ("demo", "picamera"):
        return {"kind": text}
    if re.match(r"^(rtsps?|https?)://", text):
        return {"kind": "stream", "url": text}
    if "://" in text:
        raise ConfigError(
            f"--source {redact(text)!r}: expected rtsp://, rtsps://, http:// or https:// before the"
            " address"
        )
    if re.match(r"^/dev/(video\d+|v4l/)", text):
        return {"kind": "v4l2", "path": text}
    if os.path.isdir(text):  # unlike pathlib's, False too for a name too long
        return {"kind": "images", "path": text}
    if os.path.exists(text):
        return {"kind": "video", "path": text}
    raise ConfigError(
        f"--source {text!r}: no such file or folder; expected picamera, /dev/videoN,"
        " rtsp://..., a video file, a folder of images, or demo"
    )


def load_config(
    path: Path | None = None,
    *,
    settings: Iterable[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read, layer and validate the configuration.

    Args:
        path: the TOML file; None for defaults alone.
        settings: texts of the form ``section.key=value``, as given to ``--set``.
        overrides: sections that win over everything (what the command line says outright); a
            ``source`` of another kind than the file's replaces the section instead of joining it.
        environment: variables to read; the process's own when None.

    Raises:
        ConfigError: in one line, the first thing that is wrong and how to mend it.
    """
    data = _read_toml(path) if path is not None else {}
    for name, value in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _put(data, keys, _parse_value(value), origin=name)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {redact(setting)!r}: expected section.key=value")
        _put(data, key.strip().split("."), _parse_value(value), origin=f"--set {key}")
    for section, values in (overrides or {}).items():
        kind = values.get("kind")
        present = data.get(section)
        # keys without a kind were set for this source: left out, they would be without a word
        if not isinstance(present, dict) or present.get("kind", kind) != kind:
            present = {}
        data[section] = {**present, **values}
    if isinstance(data.get("source"), dict):
        data["source"].setdefault("kind", "demo")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_first_finding(error, path)) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"configuration {path}: {error.strerror or error}") from error
    if len(raw) > 1 << 20:
        raise ConfigError(f"configuration {path}: {len(raw)} bytes; expected at most 1 MiB of TOML")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"configuration {path}: not TOML: {error}") from error


def _parse_value(text: str) -> Any:
    """Read ``text`` as a TOML value; what is none is taken as the string itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(data: dict[str, Any], keys: list[str], value: Any, *, origin: str) -> None:
    if len(keys) != 2 or not all(keys):
        raise ConfigError(f"{origin}: expected one section and one key, such as detector.threshold")
    section = data.setdefault(keys[0], {})
    if not isinstance(section, dict):
        raise ConfigError(f"{origin}: {keys[0]} is not a section")
    section[keys[1]] = value


def _first_finding(error: ValidationError, path: Path | None) -> str:
    """Return one line that names the first wrong key, the value received and what is expected."""
    found = error.errors(include_url=False)[0]
    # pydantic puts the tag of a union into the location; it is no key that a user wrote
    # and a mark after a key that is wrong itself
    inserted = {"demo", "images", "video", "v4l2", "stream", "picamera", "[key]"}
    key = ".".join(str(part) for part in found["loc"] if part not in inserted)
    where = f"configuration {path}: " if path else "configuration: "
    message = found["msg"].removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        return f"{where}{key}: unknown key; see deploy/edge.example.toml for every key"
    if not key:
        return where + message
    received = found["input"]
    shown = "" if isinstance(received, dict) else f" (received {_shown(key, received)})"
    return f"{where}{key}: {message}{shown}"


def _shown(key: str, value: Any) -> str:
    """Return ``value`` for a message: short, and without what a camera's address may hold."""
    text = redact(repr(value)) if key.endswith("url") else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def redact(url: str) -> str:
    """Return ``url`` without user, password and query: fit for logs and messages."""
    # greedy: a password may hold @, / or a space, and hiding too much does no harm
    return re.sub(r"\?.*", "?...", re.sub(r"//.*@", "//...@", url))
