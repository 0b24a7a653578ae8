"""A connection to a PostgreSQL server: address, schema, and which failures may pass.

A server that cannot be reached, is starting, stopping, full or read-only may come back: the caller
waits. A wrong address, password, database or right does not pass: ``ConfigError``. The text of an
error never contains the password.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError, LogUnavailable

try:
    import psycopg
    from psycopg import conninfo
    from psycopg import errors as sql
except ImportError as error:
    raise ConfigError(
        f"a log in PostgreSQL needs psycopg ({error}); install it: pip install"
        " 'affect-edge[postgresql]'"
    ) from error

SCHEMA_VERSION: Final = 1
"""Of the tables and views in ``postgresql.sql``."""

SCHEMA_FILE: Final = Path(__file__).with_name("postgresql.sql")

_DEFAULTS: Final = {
    "application_name": "affect-edge log",
    "connect_timeout": "5",
    # a server that vanished without a word is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_PASSES: Final = (
    "starting up",
    "shutting down",
    "recovery mode",
    "not yet accepting connections",
    "too many clients",
    "too many connections",
    "connection slots",
)
"""Parts of a server's refusals that pass by themselves."""

_REFUSALS: Final = (
    "FATAL:",
    "no password supplied",
    "does not support SSL",
    "certificate",
    "definition of service",
)
"""Parts of errors that say that the address or the password is wrong, unless they pass."""

_MISSING_RIGHT: Final = (
    sql.InsufficientPrivilege,
    sql.UndefinedTable,
    sql.UndefinedColumn,
    sql.InvalidSchemaName,
    sql.InvalidColumnReference,
)
_LOCK: Final = 0x61666665  # of the schema's creation, among loggers that start at once

_Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresServer:
    """Connects, and creates or checks the schema. Not thread-safe.

    Args:
        url: ``postgresql://USER@HOST:PORT/DATABASE``, with the options of libpq.

    Attributes:
        shown: the address for messages, without a password.

    Raises:
        ConfigError: the address is wrong.
    """

    def __init__(self, url: str) -> None:
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise _wrong_address() from error  # without its text, which may quote the password
        ports = str(given.get("port") or "1").split(",")
        if "@" in str(given.get("host")) or not all(map(_is_port, ports)):
            raise _wrong_address()
        self._options: dict[str, Any] = {**_DEFAULTS, **given}
        self.shown = _shown(given)
        self._was_connected = False

    def connect(self, *, create: bool = True) -> _Connection:
        """Return a connection whose schema is there and whose commits are durable.

        Args:
            create: whether to create the schema where it is missing.

        Raises:
            ConfigError: the server refuses this user, password or database, or a right is missing,
                or the schema is missing or that of another version.
            LogUnavailable: the server cannot be used now.
        """
        try:
            connection = psycopg.connect(**self._options)
        except psycopg.OperationalError as error:
            raise self._of_connecting(error) from error
        except psycopg.Error as error:  # an option that libpq refuses
            raise ConfigError(f"{self.shown}: {_one_line(error)}") from error
        try:
            with connection.transaction():
                self._prepare(connection, create=create)
        except psycopg.Error as error:
            connection.close()
            raise self.translated(error) from error
        except ConfigError:
            connection.close()
            raise
        self._was_connected = True
        return connection

    def _prepare(self, connection: _Connection, *, create: bool) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigError(
                f"{self.shown}: the database has the encoding {encoding}; expected UTF8: create it"
                " with ENCODING 'UTF8' TEMPLATE template0"
            )
        # a role or database may have switched it off: then a commit could still be lost
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if _value(connection, "SELECT to_regclass('affect.version') IS NULL"):
            if not create:
                raise ConfigError(f"{self.shown}: has no log; expected the schema affect")
            connection.execute(SCHEMA_FILE.read_bytes())
        version = _value(connection, "SELECT version FROM affect.version")
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{self.shown}: its schema affect has version {version}, this program knows"
                f" {SCHEMA_VERSION}; use the affect-edge that made it, or another database"
            )
        connection.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (stream text, epoch bigint, seq bigint,"
            " device text, kind text, event text, unix_us bigint, body json)"
        )

    def _of_connecting(self, error: psycopg.OperationalError) -> ConfigError | LogUnavailable:
        text = _one_line(error)
        is_refused = any(part in text for part in _REFUSALS)
        passes = any(part in text for part in _PASSES)
        # Servers answer in their own language, and libpq gives no code. So once this process has
        # been connected, every refusal may pass, and before that, every known one.
        if is_refused and not passes and not self._was_connected:
            return ConfigError(
                f"{self.shown}: {text}; check user, database and password (PGPASSWORD or ~/.pgpass)"
            )
        return LogUnavailable(f"{self.shown}: {text}")

    def translated(self, error: psycopg.Error) -> ConfigError | LogUnavailable:
        """Return what an error of a statement means."""
        text = f"{self.shown}: {_one_line(error)}"
        if isinstance(error, _MISSING_RIGHT):
            return ConfigError(f"{text}; expected the schema and rights of {SCHEMA_FILE.name}")
        return LogUnavailable(text)


def _wrong_address() -> ConfigError:
    return ConfigError(
        "log: not an address of a database; expected postgresql:// and USER@HOST:PORT/DATABASE (in"
        " a password, write %40 for @, %3A for :, %2F for / and %25 for %)"
    )


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) <= 65535


def _value(connection: _Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def _shown(given: Mapping[str, Any]) -> str:
    """Return the address of a connection without its password."""
    user, host = given.get("user"), str(given.get("host") or "")
    port = f":{given['port']}" if given.get("port") else ""
    return f"PostgreSQL {f'{user} at ' if user else ''}{host or 'local socket'}{port}" + (
        f", database {given['dbname']}" if given.get("dbname") else ""
    )


def _one_line(error: psycopg.Error) -> str:
    """Return the first line of an error, without the address, which libpq puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    before, fatal, reason = text.rpartition("FATAL:  ")
    return fatal + reason if fatal else before + reason
