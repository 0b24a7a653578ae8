"""The options ``--secret-key`` and ``--server-key``, alike for every command that connects."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

_SECRET = "AFFECT_EDGE_SECRET_KEY"
_SERVER = "AFFECT_EDGE_SERVER_KEY"
_OPTIONS = {
    "secret_key": Annotated[
        Path | None,
        typer.Option(
            "--secret-key", metavar="FILE", envvar=_SECRET,
            help="This client's NAME.key_secret, for a daemon with keys.",
        ),
    ],
    "server_key": Annotated[
        list[Path] | None,
        typer.Option(
            "--server-key", metavar="FILE", envvar=_SERVER,
            help="The daemon's public NAME.key; or repeated, one for each daemon, in the order of"
            " their addresses.",
        ),
    ],
}  # fmt: skip


def takes_keys(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options to a command; sockets that it makes use the keys."""

    @functools.wraps(command)
    def run(
        *args: Any,
        secret_key: Path | None = None,
        server_key: list[Path] | None = None,
        **others: Any,
    ) -> Any:
        if secret_key is not None or server_key:
            from edge.client.keys import Keys, set_default_keys  # noqa: PLC0415

            named = {
                _SECRET: str(secret_key or ""),
                _SERVER: os.pathsep.join(map(str, server_key or ())),
            }
            endpoints, services = (_listed(others.get(name)) for name in ("connect", "service"))
            set_default_keys(Keys.from_environment(named, endpoints=endpoints, services=services))
        return command(*args, **others)

    signature = inspect.signature(command)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [*signature.parameters.values(), *options]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, **_OPTIONS}
    return run


def _listed(addresses: list[str] | str | None) -> list[str]:
    given = [addresses] if isinstance(addresses, str) else addresses or []
    return [each for each in given if each]
