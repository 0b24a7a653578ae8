"""The library for Parquet, loaded when it is needed."""

from typing import Any

from edge.errors import ConfigError


def require_arrow() -> Any:
    """Return pyarrow, with ``parquet``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "Parquet needs the package pyarrow: pip install 'affect-edge[recordings]'"
        ) from error
    return pyarrow
