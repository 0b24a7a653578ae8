"""Sensors and kernel state of the board: temperature, throttling, swap, memory, processors.

Everything is read from /proc and /sys, without starting a process. A missing or malformed file
gives None (unknown), never a good value.
"""

import os
import platform
import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

# bits of the firmware's throttled value that describe the present, not the past
_THROTTLE_BITS = {
    0: "under_voltage",
    1: "frequency_capped",
    2: "throttled",
    3: "soft_temperature_limit",
}

_THROTTLED_VALUE_BITS: Final = 32

_CPU_FILES: Final = ("proc/cpuinfo", "sys/devices/system/cpu/possible")

# Bounds and share of the board's memory for limits.worker_rss_mb = "auto". Measured on x86-64 with
# locked memory: worker 142 MB (small bundled detector) or 250 MB (large one), hub 43 MB.
WORKER_RSS_MIN_MB: Final = 256
WORKER_RSS_MAX_MB: Final = 768
WORKER_RSS_SHARE: Final = 0.4


class Board:
    """The board's sensors, and the kernel's state of memory and processors.

    Every method reads its files again, and may be called from any thread.

    Args:
        root: the folder that holds ``proc`` and ``sys``; tests use another one.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._sys = root / "sys"
        self._proc = root / "proc"

    # -- sensors -----------------------------------------------------------------------------------

    def soc_celsius(self) -> float | None:
        """Return the temperature of the chip, degrees Celsius; None when unknown."""
        try:
            celsius = int(_read(self._sys / "class/thermal/thermal_zone0/temp")) / 1000
        except (OSError, ValueError):
            return None
        return celsius if -50 < celsius < 200 else None

    def throttle_flags(self) -> dict[str, bool] | None:
        """Return the throttling flags that the board can report, and which are set; None if none.

        The firmware's value (``get_throttled``) has four flags; its node in sysfs is named after
        the address of the chip's bus (``soc`` up to Pi 4, ``soc@107c000000`` on Pi 5). If the
        kernel does not offer it, the voltage sensor (hwmon ``rpi_volt``) gives only
        ``under_voltage``.
        """
        # newer kernels log once per boot that it is deprecated, but only it has all four flags
        for path in _matching(self._sys / "devices/platform", "soc*/soc*:firmware/get_throttled"):
            try:
                value = int(_read(path), 16)
            except (OSError, ValueError):
                continue
            if not 0 <= value < 1 << _THROTTLED_VALUE_BITS:
                continue
            return {name: bool(value >> bit & 1) for bit, name in _THROTTLE_BITS.items()}
        for sensor in _matching(self._sys / "class/hwmon", "hwmon*"):
            try:
                if _read(sensor / "name") == "rpi_volt":
                    alarm = int(_read(sensor / "in0_lcrit_alarm"))
                    if alarm in (0, 1):
                        return {"under_voltage": bool(alarm)}
            except (OSError, ValueError):
                continue
        return None

    def throttled(self) -> list[str] | None:
        """Return the names of the throttling flags that are set now; None when unknown."""
        return set_flags(self.throttle_flags())

    def governor(self) -> str | None:
        """Return what sets the processor's frequency, such as ``ondemand``; None when unknown."""
        try:
            return _read(self._sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor")
        except (OSError, ValueError):
            return None

    def frequency_mhz(self, cpu: int = 0) -> tuple[float, float] | None:
        """Return the frequency of a processor now and its highest one, MHz; None when unknown."""
        folder = self._sys / f"devices/system/cpu/cpu{cpu}/cpufreq"
        try:
            now, highest = (
                int(_read(folder / name)) / 1000
                for name in ("scaling_cur_freq", "cpuinfo_max_freq")
            )
        except (OSError, ValueError):
            return None
        return (now, highest) if 0 < now <= 2 * highest else None

    # -- identity ----------------------------------------------------------------------------------

    def model(self) -> str | None:
        """Return the name of the board, such as ``Raspberry Pi 5 Model B``; None when unknown."""
        for path in (self._proc / "device-tree/model", self._sys / "class/dmi/id/product_name"):
            try:
                name = _read(path, errors="replace")
            except OSError:
                continue
            if name and name.isprintable():
                return name
        return None

    # -- memory ------------------------------------------------------------------------------------

    def memory_mb(self) -> float | None:
        """Return the board's memory as Linux sees it (MemTotal), MiB; None when unknown."""
        size_kb = _search(r"(?m)^MemTotal:\s+(\d+) kB$", self._proc / "meminfo")
        return None if size_kb is None else int(size_kb) / 1024

    def swap_on_storage(self) -> list[str] | None:
        """Return the swap areas that write to storage, such as a card; None when unknown.

        Compressed memory (zram) is not storage, unless it writes back to a backing device.
        """
        try:
            header, *rows = _read(self._proc / "swaps").splitlines() or [""]
        except (OSError, ValueError):
            return None
        if not header.startswith("Filename"):
            return None
        return [area for row in rows if row.strip() and self._is_storage(area := row.split()[0])]

    def _is_storage(self, area: str) -> bool:
        if not re.fullmatch(r"/dev/zram\d+", area):
            return True
        try:
            return _read(self._sys / "block" / Path(area).name / "backing_dev") != "none"
        except FileNotFoundError:
            return False  # a kernel without zram writeback
        except (OSError, ValueError):
            return True

    def swap_forbidden(self) -> bool:
        """Return whether this process's memory cgroup, or one above it, forbids swap (v2 only)."""
        own = self._cgroup()
        top = self._sys / "fs/cgroup"
        if own is None or top not in own.parents:
            return False  # unknown, or the root cgroup, which has no limits
        for folder in (own, *own.parents):
            if folder == top:
                break
            try:
                if _read(folder / "memory.swap.max") == "0":
                    return True
            except (OSError, ValueError):
                pass  # no file: the memory controller is off, for this cgroup or for all
        return False

    def has_memory_cgroup(self) -> bool:
        """Return whether the kernel enforces memory limits of services (MemoryMax and the like)."""
        try:
            return "memory" in _read(self._sys / "fs/cgroup/cgroup.controllers").split()
        except (OSError, ValueError):
            return False

    def _cgroup(self) -> Path | None:
        name = _search(r"(?m)^0::/(.*)$", self._proc / "self/cgroup")
        if name is None or ".." in name:
            return None
        return self._sys / "fs/cgroup" / name

    # -- processors --------------------------------------------------------------------------------

    def has_garbled_cpuinfo(self) -> bool:
        """Return whether /proc/cpuinfo can be read but lists no processor."""
        try:
            text = _read(self._proc / "cpuinfo", errors="replace")
        except OSError:
            return False
        return re.search(r"(?m)^processor\s*:", text) is None

    def unreadable_cpu_files(self) -> list[str]:
        """Return the unreadable ones of the files from which the runtimes detect the processor.

        Without these files the runtimes work, but do not detect the processor's features.
        """
        missing = []
        for name in _CPU_FILES:
            try:
                if _read(self._root / name, errors="replace"):
                    continue
            except OSError:
                pass
            missing.append(f"/{name}")
        return missing


def set_flags(flags: Mapping[str, bool] | None) -> list[str] | None:
    """Return the names of the flags that are set, of ``Board.throttle_flags``."""
    return None if flags is None else [name for name, is_set in flags.items() if is_set]


SwapState = Literal["off", "prevented", "possible"]


def swap_state(board: Board, *, memory_locked: bool | None) -> SwapState | None:
    """Return whether pictures in the worker's memory can be written to storage; None when unknown.

    Args:
        board: gives swap areas and cgroups.
        memory_locked: whether the worker's memory is locked; None when not yet known.
    """
    areas = board.swap_on_storage()
    if areas is None:
        return "prevented" if memory_locked else None
    if not areas:
        return "off"
    if memory_locked or board.swap_forbidden():
        return "prevented"
    return None if memory_locked is None else "possible"


def worker_rss_limit_mb(configured: int | Literal["auto"], memory_mb: float | None) -> int:
    """Return the memory limit of a worker, MiB: as configured, or derived from the board's memory.

    "auto" is 40 % of the memory, at least 256 and at most 768; 768 where the memory is unknown.
    """
    if configured != "auto":
        return configured
    if memory_mb is None:
        return WORKER_RSS_MAX_MB
    return round(min(max(WORKER_RSS_SHARE * memory_mb, WORKER_RSS_MIN_MB), WORKER_RSS_MAX_MB))


def open_files() -> int | None:
    """Return the number of open descriptors of this process; None when unknown."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one that reads the folder
    except OSError:
        return None


def rss_mb() -> float:
    """Return the resident memory of this process in MiB; its highest one without /proc."""
    try:
        pages = int(_read(Path("/proc/self/statm")).split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def is_arm() -> bool:
    """Return whether this is an ARM processor; there the runtimes read /proc/cpuinfo."""
    return platform.machine() in ("aarch64", "armv7l", "armv8l")


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files in ``folder`` that match; none where they cannot be listed."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _search(pattern: str, path: Path) -> str | None:
    """Return the first group of ``pattern`` in a file; None where either is missing."""
    try:
        found = re.search(pattern, _read(path))
    except (OSError, ValueError):
        return None
    return found[1] if found else None


def _read(path: Path, errors: Literal["strict", "replace"] = "strict") -> str:
    return path.read_text("ascii", errors).strip("\0\n ")
