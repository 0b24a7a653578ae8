"""The library for Parquet, loaded when it is needed."""

from typing import Any

from edge.errors import ConfigError


def require_arrow(
    what: str = "Parquet", *, extra: str = "recordings", instead: str | None = None
) -> Any:
    """Return pyarrow, with ``parquet``.

    Args:
        what: needs it, for the error message.
        extra: of this package that installs it.
        instead: what to do without it.

    Raises:
        ConfigError: it is not installed; one line.
    """
    try:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        alternative = f", or {instead}" if instead else ""
        raise ConfigError(
            f"{what} needs the package pyarrow: pip install 'affect-edge[{extra}]'{alternative}"
        ) from error
    return pyarrow
