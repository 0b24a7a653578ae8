"""The configuration under which recordings are analysed: file, environment, settings, purpose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from edge.config import (
    Config,
    DeviceConfig,
    ImagesSource,
    JournalConfig,
    declares_purpose,
    load_config,
)
from edge.config.schema import LAWFUL_PURPOSE
from edge.errors import ConfigError

PURPOSES: Final = tuple(
    each for each in get_args(get_args(DeviceConfig.model_fields["purpose"].annotation)[0])
)
"""The values of ``device.purpose``."""

NO_PURPOSE: Final = (
    f"purpose: not declared; expected one of {', '.join(PURPOSES)}, by --purpose, or by"
    f" device.purpose in the configuration: {LAWFUL_PURPOSE}"
)
_NO_PURPOSE_IN_PYTHON: Final = NO_PURPOSE.replace("--purpose", "Reader(purpose=...)")

_ISOLATED_HZ: Final = 0.001


@dataclass(frozen=True, slots=True)
class Selection:
    """The pictures of a recording that are analysed.

    Attributes:
        start_s: from this time within the recording on, seconds.
        end_s: before this time; None: to the end.
        every: those whose number is a multiple of it.

    Raises:
        ConfigError: the range is empty, or a value is out of range.
    """

    start_s: float = 0.0
    end_s: float | None = None
    every: int = 1

    def __post_init__(self) -> None:
        for name, value in (("start", self.start_s), ("end", self.end_s)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} {value}: expected seconds, 0 or more")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ConfigError(f"end {self.end_s:g} s: expected more than start {self.start_s:g} s")
        if not self.every >= 1 or self.every % 1:  # any kind of whole number, as of NumPy
            raise ConfigError(f"every {self.every}: expected a whole number, 1 or more")


class Settings:
    """Makes the configuration of each recording. Not thread-safe.

    Keys of ``[source]`` apply to recordings of their kind (``video``, ``images``); a camera's do
    not.

    Args:
        config: the TOML file, or a whole configuration; None: the defaults. The environment
            variables of the daemon apply, unless it is a whole configuration.
        settings: texts ``section.key=value``, as for ``--set``.
        purpose: ``device.purpose``; None: as configured.

    Raises:
        ConfigError: a mistake in them, or no purpose is declared; one line.
    """

    def __init__(
        self,
        config: Config | Path | str | None = None,
        settings: Sequence[str] = (),
        purpose: str | None = None,
    ) -> None:
        if purpose is not None and purpose not in PURPOSES:
            raise ConfigError(f"purpose {purpose!r}: expected one of {', '.join(PURPOSES)}")
        self._config = Path(config) if isinstance(config, str) else config
        self._settings = tuple(settings)
        self._device = {} if purpose is None else {"purpose": purpose}
        if isinstance(config, Config) and settings:
            raise ConfigError("settings: expected none with a whole configuration")
        if purpose is None and not self._is_purpose_declared():
            raise ConfigError(_NO_PURPOSE_IN_PYTHON)

    def of_video(self, path: str | Path) -> Config:
        """Return the configuration for a video file.

        Raises:
            ConfigError: a mistake in the configuration.
        """
        return self._for({"kind": "video", "path": str(path), "repeat": 1})

    def of_folder(self, path: str | Path) -> Config:
        """Return the configuration for a folder of pictures, a series at ``source.rate_hz``.

        Raises:
            ConfigError: a mistake in the configuration.
        """
        return self._for({"kind": "images", "path": str(path), "repeat": 1})

    def of_picture(self) -> Config:
        """Return the configuration for pictures that have nothing to do with each other.

        Raises:
            ConfigError: a mistake in the configuration.
        """
        config = self._for({"kind": "images", "path": "."})
        assert isinstance(config.source, ImagesSource)
        source = config.source.model_copy(update={"rate_hz": _ISOLATED_HZ})
        return config.model_copy(update={"source": source})

    def _is_purpose_declared(self) -> bool:
        if isinstance(self._config, Config):
            return self._config.device.purpose is not None
        return declares_purpose(self._config, self._settings)

    def _for(self, source: Mapping[str, Any]) -> Config:
        if isinstance(self._config, Config):
            values = self._config.model_dump()
            same = values["source"]["kind"] == source["kind"]
            values["source"] = {**(values["source"] if same else {}), **source}
            values["device"] |= self._device
            config = Config.model_validate(values)
        else:
            overrides = {"source": source, **({"device": self._device} if self._device else {})}
            config = load_config(self._config, settings=self._settings, overrides=overrides)
        # the daemon's folder is not that of whoever analyses a recording
        return config.model_copy(update={"journal": JournalConfig()})
