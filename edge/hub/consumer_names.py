"""Names of consumers: each belongs to one process at a time.

Two loggers with one name would acknowledge each other's messages, and the journal could remove what
one of them still needs. So the process that came last keeps the name, and the other is refused
until the newer one has been silent for ``SILENT_S``.
"""

import logging
from typing import Final

from edge.errors import RequestRefused

log = logging.getLogger("affect_edge")

SILENT_S: Final = 30.0
"""After this time without a request of the newer process, the older one may have the name again."""

NAMES_MAX: Final = 256
"""Names that are kept; beyond that, the one that was unused for longest is forgotten."""

_SUPERSEDED_MAX: Final = 16  # older processes of a name that are kept


class ConsumerNames:
    """Knows which process (``instance``) uses which name. Not thread-safe."""

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}  # the one used last at the end

    def check(self, name: str, instance: str | None, now_ns: int) -> None:
        """Note that ``instance`` uses ``name``; None is a consumer that does not say who it is.

        Raises:
            RequestRefused: a newer process uses the name.
        """
        if instance is None:
            return
        used = self._names.pop(name, None) or _Name(instance, now_ns)
        self._names[name] = used
        if len(self._names) > NAMES_MAX:
            del self._names[next(iter(self._names))]
        if instance != used.instance:
            is_silent = now_ns - used.last_ns > SILENT_S * 1e9
            if instance in used.superseded and not is_silent:
                raise RequestRefused(
                    f"another process fetches as {name!r} since this one did; give each its own"
                    " name (affect-edge log: --name)",
                    code="name_taken",
                )
            used.replace(instance)
            log.warning(
                "another process fetches as %r from now on; the one before is refused: give each"
                " its own name (affect-edge log: --name)",
                name,
            )
        used.last_ns = now_ns


class _Name:
    """A name and its processes: the one that has it, and older ones, the newest last."""

    def __init__(self, instance: str, now_ns: int) -> None:
        self.instance = instance
        self.last_ns = now_ns
        self.superseded: list[str] = []

    def replace(self, instance: str) -> None:
        """Give the name to ``instance``."""
        older = [each for each in [*self.superseded, self.instance] if each != instance]
        self.superseded = older[-_SUPERSEDED_MAX:]
        self.instance = instance
