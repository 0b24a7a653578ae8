"""Loads liblsl with a configuration of its own, which names the interface."""

import configparser
import io
import os
from pathlib import Path
from typing import Any, Final

from edge.clock import monotonic_ns
from edge.errors import ConfigError
from edge.lsl.interface import Interface

_VARIABLE: Final = "LSLAPICFG"
_PLACES: Final = ("~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
_SAMPLES: Final = 16


def load(interface: Interface) -> Any:
    """Return the module ``pylsl``, whose library discovers and answers on ``interface`` only.

    Call it once in a process, before anything else imports pylsl. The configuration that the user
    has for liblsl stays valid, such as the session id; only what concerns interfaces is replaced.

    Raises:
        ConfigError: pylsl or liblsl is missing, or the user's configuration cannot be read.
    """
    text = configuration(interface, _user_configuration())
    # in memory: nothing is left on the disk, and no other user can change it
    descriptor = os.memfd_create("lsl_api.cfg")
    os.write(descriptor, text.encode())
    os.environ[_VARIABLE] = f"/proc/self/fd/{descriptor}"
    try:
        import pylsl  # noqa: PLC0415

        pylsl.local_clock()
    except ImportError as error:
        raise ConfigError(
            "lsl: pylsl is not installed; expected pip install 'affect-edge[lsl]'"
        ) from error
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"lsl: liblsl cannot be loaded: {' '.join(str(error).split())}"
        ) from error
    return pylsl


def configuration(interface: Interface, user: Path | None) -> str:
    """Return a configuration of liblsl: the user's, with the settings of the interface replaced.

    Raises:
        ConfigError: ``user`` cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    if user is not None:
        try:
            parser.read_string(user.read_text())
        except (OSError, ValueError, configparser.Error) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ConfigError(f"{user}: {reason}; expected liblsl's configuration") from error
    for section, key, value in (
        ("ports", "IPv6", "disable"),
        ("multicast", "Interfaces", f"{{{interface.address}}}"),
        ("multicast", "ListenAddress", None),  # bound to it, a socket gets no multicast on Linux
        ("log", "level", "-1"),  # warnings
        ("log", "file", None),
    ):
        if not parser.has_section(section):
            parser.add_section(section)
        if value is None:
            parser.remove_option(section, key)
        else:
            parser.set(section, key, value)
    written = io.StringIO()
    parser.write(written)
    return written.getvalue()


def clock_offset_ns(lsl: Any) -> tuple[int, int]:
    """Return LSL's clock minus the monotonic clock, and the bound of the error, ns.

    On Linux both are the same clock; this measures it.
    """
    best: tuple[int, int] | None = None
    for _ in range(_SAMPLES):
        before_ns = monotonic_ns()
        lsl_ns = round(lsl.local_clock() * 1e9)
        after_ns = monotonic_ns()
        half_ns = (after_ns - before_ns + 1) // 2
        if best is None or half_ns < best[1]:
            best = lsl_ns - (before_ns + half_ns), half_ns
    assert best is not None
    # the same clock: a few hundred nanoseconds are the calls themselves
    return (0, best[1]) if abs(best[0]) <= best[1] else best


def _user_configuration() -> Path | None:
    named = os.environ.get(_VARIABLE)
    if named:
        return Path(named).expanduser()
    places = (Path(place).expanduser() for place in _PLACES)
    return next((place for place in places if place.is_file()), None)
