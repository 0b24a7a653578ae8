"""``affect-edge keys``: make key pairs, and list the key files of a folder."""

import sys
from pathlib import Path

from edge.access.keys import PUBLIC_SUFFIX, SECRET_SUFFIX, new_pair, read_public, read_secret
from edge.errors import EXIT_CONFIG, EXIT_DONE, ConfigError


def make_keys(name: str, folder: Path) -> None:
    """Make a key pair in ``folder``; print its files and where each belongs.

    Raises:
        ConfigError: the name is wrong, a file exists, or the folder cannot be written.
    """
    public, secret, mark = new_pair(name, folder)
    sys.stdout.write(
        f"{secret}  secret: stays with {name}, on one machine; never send or copy it elsewhere\n"
        f"{public}  public (fingerprint {mark}): for the other side\n"
        f"If {name} is the device: security.secret_key names the secret file; each client gets"
        " the public file and names it with --server-key.\n"
        f"If {name} is a client: --secret-key names the secret file; the public file goes to the"
        " device, into the folder security.allowed_keys.\n"
    )


def list_keys(folder: Path) -> int:
    """Print a line for each key file of ``folder``; return 78 if one is bad.

    Raises:
        ConfigError: the folder cannot be read.
    """
    try:
        paths = sorted(
            each for each in folder.iterdir() if each.name.endswith((PUBLIC_SUFFIX, SECRET_SUFFIX))
        )
    except OSError as error:
        raise ConfigError(f"--dir {folder}: {error.strerror}; expected a folder") from error
    code = EXIT_DONE
    for path in paths:
        try:
            if path.name.endswith(SECRET_SUFFIX):
                pair, use = read_secret(path, "key"), "secret: security.secret_key or --secret-key"
            else:
                pair, use = read_public(path, "key"), "public: security.allowed_keys/, --server-key"
        except ConfigError as error:
            sys.stdout.write(f"WRONG  {error}\n")
            code = EXIT_CONFIG
        else:
            sys.stdout.write(f"ok     {path.name}  {pair.fingerprint}  {use}\n")
    if not paths:
        sys.stdout.write(f"no keys in {folder}; affect-edge keys new NAME --dir {folder}\n")
    return code
