"""The configuration of one daemon: loaded once, validated and frozen; unknown keys are refused."""

from edge.config.alarms import AlarmsConfig
from edge.config.load import declares_purpose, load_config, source_settings
from edge.config.network import MetricsConfig, SecurityConfig, is_local, is_loopback
from edge.config.preview import PreviewConfig
from edge.config.redact import redact
from edge.config.schema import (
    IPC_PATH_BYTES_MAX,
    AffectConfig,
    Config,
    DetectorConfig,
    DeviceConfig,
    ExpressionConfig,
    JournalConfig,
    LimitsConfig,
    MeshConfig,
    PublishConfig,
    QualityConfig,
    TrackingConfig,
    TranslatorConfig,
)
from edge.config.section import Section
from edge.config.sources import (
    DemoSource,
    FileSource,
    ImagesSource,
    PicameraSource,
    SourceConfig,
    StreamSource,
    V4l2Source,
    VideoSource,
    is_file,
)
from edge.config.zones import SeatConfig, ZonesConfig

__all__ = [
    "IPC_PATH_BYTES_MAX",
    "AffectConfig",
    "AlarmsConfig",
    "Config",
    "DemoSource",
    "DetectorConfig",
    "DeviceConfig",
    "ExpressionConfig",
    "FileSource",
    "ImagesSource",
    "JournalConfig",
    "LimitsConfig",
    "MeshConfig",
    "MetricsConfig",
    "PicameraSource",
    "PreviewConfig",
    "PublishConfig",
    "QualityConfig",
    "SeatConfig",
    "Section",
    "SecurityConfig",
    "SourceConfig",
    "StreamSource",
    "TrackingConfig",
    "TranslatorConfig",
    "V4l2Source",
    "VideoSource",
    "ZonesConfig",
    "declares_purpose",
    "is_file",
    "is_local",
    "is_loopback",
    "load_config",
    "redact",
    "source_settings",
]
