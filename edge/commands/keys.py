"""The commands ``keys new`` and ``keys list``; they load nothing before they run."""

from pathlib import Path
from typing import Annotated

import typer

keys_app = typer.Typer(
    no_args_is_help=True, help="Make and list key pairs for connections from other machines."
)


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose keys: the device or the client.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write the files.")] = Path(),
) -> None:
    """Make a key pair: NAME.key for the other side, and NAME.key_secret."""
    from edge.tools.keys import make_keys  # noqa: PLC0415

    make_keys(name, folder)


@keys_app.command("list")
def keys_list(
    folder: Annotated[Path, typer.Option("--dir", help="Where to look.")] = Path(),
) -> int:
    """Print the key files of a folder with their fingerprints; exit 78 if one is bad."""
    from edge.tools.keys import list_keys  # noqa: PLC0415

    return list_keys(folder)
