"""The options ``--secret-key`` and ``--server-key``, alike for every command that connects."""

import functools
import inspect
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
        Path | None,
        typer.Option(
            "--server-key", metavar="FILE", envvar=_SERVER, help="The daemon's public NAME.key."
        ),
    ],
}  # fmt: skip


def takes_keys(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options to a command; sockets that it makes use the keys."""

    @functools.wraps(command)
    def run(
        *args: Any, secret_key: Path | None = None, server_key: Path | None = None, **others: Any
    ) -> Any:
        if secret_key is not None or server_key is not None:
            from edge.client.keys import Keys, set_default_keys  # noqa: PLC0415

            named = {_SECRET: str(secret_key or ""), _SERVER: str(server_key or "")}
            set_default_keys(Keys.from_environment(named))
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
