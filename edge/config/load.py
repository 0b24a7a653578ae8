"""Loads the configuration from layers: TOML file, environment and ``--set``.

Later layers win: defaults, file, environment (``AFFECT_EDGE__SECTION__KEY``), ``--set a.b=value``,
and options of the command line such as ``--source``.
"""

import codecs
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.config.mistakes import first_mistake, section_keys, toml_mistake
from edge.config.redact import redact_address
from edge.config.schema import Config
from edge.config.sources import SOURCES
from edge.errors import ConfigError
from edge.files.regular import open_regular

ENVIRONMENT_PREFIX = "AFFECT_EDGE__"

_TOML_BYTES_MAX = 1 << 20
_TEXT_TYPES = ("string_type", "string_sub_type")
"""pydantic's errors for a value that must be text."""


def source_settings(text: str) -> dict[str, Any]:
    """Return the ``[source]`` section for the value of ``--source``.

    Raises:
        ConfigError: ``text`` is no kind of source and no existing file or folder.
    """
    if text in SOURCES and not any(
        field.is_required() for name, field in SOURCES[text].model_fields.items() if name != "kind"
    ):
        return {"kind": text}
    if re.match(r"^(rtsps?|https?)://", text):
        return {"kind": "stream", "url": text}
    if "://" in text:
        raise ConfigError(
            f"--source {redact_address(text)!r}: expected rtsp://, rtsps://, http:// or https://"
            " before the address"
        )
    if re.match(r"^/dev/(video\d+|v4l/)", text):
        return {"kind": "v4l2", "path": text}
    if os.path.isdir(text):  # False for a name that is too long, where pathlib raises
        return {"kind": "images", "path": text}
    try:
        os.stat(text)
        return {"kind": "video", "path": text}
    except (FileNotFoundError, NotADirectoryError, ValueError):
        reason = "no such file or folder"
    except OSError as error:
        reason = str(error.strerror)
    raise ConfigError(
        f"--source {redact_address(text)!r}: {reason}; expected picamera, /dev/videoN,"
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
        path: the TOML file; None for the defaults.
        settings: texts of the form ``section.key=value``, as given to ``--set``.
        overrides: sections from options of the command line; they win over all layers. A
            ``source`` of another kind than the file's replaces that section; otherwise the keys
            are merged.
        environment: environment variables; those of this process when None.

    Raises:
        ConfigError: the first mistake and its remedy, in one line.
    """
    data, texts = _layers(path, settings, environment)
    for section, values in (overrides or {}).items():
        kind = values.get("kind")
        present = data.get(section)
        # keys without a kind belong to the new source; dropping them would ignore them silently
        if not isinstance(present, dict) or present.get("kind", kind) != kind:
            present = {}
        data[section] = {**present, **values}
    if isinstance(data.get("source"), dict):
        data["source"].setdefault("kind", "demo")
    try:
        return _validate(data, texts)
    except ValidationError as error:
        where = f"configuration {path}" if path else "configuration"
        raise ConfigError(f"{where}: {first_mistake(error)}") from error


def declares_purpose(path: Path | None, settings: Iterable[str] = ()) -> bool:
    """Return whether file, environment or settings set ``device.purpose``; see ``load_config``.

    Raises:
        ConfigError: as ``load_config``, of mistakes in the form only.
    """
    device = _layers(path, settings, None)[0].get("device")
    return isinstance(device, dict) and "purpose" in device


def _layers(
    path: Path | None, settings: Iterable[str], environment: Mapping[str, str] | None
) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """Return sections from file, environment and settings, and what was given as text."""
    data = _read_toml(path) if path is not None else {}
    texts: dict[tuple[str, ...], str] = {}  # what was given as text, before it was parsed
    for name, value in sorted((os.environ if environment is None else environment).items()):
        expected = _meant_variable(name)
        if expected and expected != name:
            raise ConfigError(f"environment variable {name}: not read; expected {expected}")
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _set_key(data, keys, _parse_value(value), origin=name)
            texts[tuple(keys)] = value
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {redact_address(setting)!r}: expected section.key=value")
        keys = key.strip().split(".")
        _set_key(data, keys, _parse_value(value), origin=f"--set {redact_address(key)}")
        texts[tuple(keys)] = value.strip()
    return data, texts


def _validate(data: dict[str, Any], texts: Mapping[tuple[str, ...], str]) -> Config:
    """Validate ``data``; where text is expected, ``--set device.name=4`` means the text ``4``."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        wrong = [
            # the location of a source has the kind of the source in its middle
            (str(found["loc"][0]), str(found["loc"][-1]))
            for found in error.errors(include_url=False)
            if found["type"] in _TEXT_TYPES and not isinstance(found["input"], (list, dict))
        ]
        as_text = [keys for keys in wrong if keys in texts]
        if not as_text:
            raise
        for section, key in as_text:
            data[section][key] = texts[section, key]
        return Config.model_validate(data)


def _meant_variable(name: str) -> str:
    """Return the variable that ``name`` was probably meant to be; empty if it is none of ours.

    Covers another case, and another number of underscores: ``AFFECT_EDGE_DEVICE_NAME``.
    """
    words = [word for word in re.split("_+", name.lower()) if word]
    if words[:2] != ["affect", "edge"] or len(words) < 4 or words[2] not in Config.model_fields:
        return ""
    key = "_".join(words[3:])
    if name.startswith(ENVIRONMENT_PREFIX) and key not in section_keys(words[2]):
        return ""  # there is no variable of that name either
    return f"{ENVIRONMENT_PREFIX}{words[2].upper()}__{key.upper()}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb", opener=open_regular) as file:
            raw = file.read(_TOML_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"configuration {path}: {error.strerror or error}; expected a TOML file"
        ) from error
    if len(raw) > _TOML_BYTES_MAX:
        raise ConfigError(f"configuration {path}: more than 1 MiB; expected a TOML file")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:64]:
        kind = (
            "UTF-16 text" if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "not UTF-8"
        )
        raise ConfigError(f"configuration {path}: {kind}; save it again as UTF-8")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))  # Windows editors begin UTF-8 with a mark
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"configuration {path}: {toml_mistake(error)}") from error


def _parse_value(text: str) -> Any:
    """Parse ``text`` as a TOML value; return the text itself if it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _set_key(data: dict[str, Any], keys: list[str], value: Any, *, origin: str) -> None:
    if len(keys) != 2 or not all(keys):
        text = "expected one section and one key, such as detector.threshold"
        if keys[:2] == ["expression", "priors"]:
            text = "expected all priors as one value, such as expression.priors={ neutral = 0.7 }"
        raise ConfigError(f"{origin}: {text}")
    section = data.setdefault(keys[0], {})
    if not isinstance(section, dict):
        raise ConfigError(f"{origin}: {keys[0]} is not a section")
    section[keys[1]] = value
