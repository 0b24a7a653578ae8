"""The board's sensors, swap and memory, from files as Raspberry Pi kernels lay them out."""

from pathlib import Path

import pytest

from edge.board import Board, SwapState, swap_state, worker_rss_limit_mb

PI_3_AND_4 = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_5 = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
CARD = "/var/swap                               file\t\t524272\t\t0\t\t-2\n"
ZRAM = "/dev/zram0                              partition\t2097136\t\t0\t\t100\n"


def board(folder: Path, files: dict[str, str]) -> Board:
    """Return a board whose /proc and /sys hold these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Board(folder)


@pytest.mark.parametrize(
    ("text", "celsius"),
    [("61234\n", 61.234), ("0\n", 0.0), ("hot", None), ("", None), ("99999999", None)],
)
def test_temperature(tmp_path: Path, text: str, celsius: float | None) -> None:
    assert board(tmp_path, {}).soc_celsius() is None
    files = {"sys/class/thermal/thermal_zone0/temp": text}
    assert board(tmp_path, files).soc_celsius() == celsius


def voltage(number: int, name: str, alarm: str) -> dict[str, str]:
    folder = f"sys/class/hwmon/hwmon{number}"
    return {f"{folder}/name": f"{name}\n", f"{folder}/in0_lcrit_alarm": alarm}


@pytest.mark.parametrize(
    ("files", "flags"),
    [
        pytest.param({PI_3_AND_4: "0\n"}, [], id="Pi 3 and 4"),
        pytest.param({PI_3_AND_4: "50005\n"}, ["under_voltage", "throttled"], id="no prefix"),
        pytest.param(
            {PI_3_AND_4: "0xf"},
            ["under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"],
            id="all four",
        ),
        pytest.param({PI_5: "0\n"}, [], id="Pi 5"),
        pytest.param({PI_5: "80008\n"}, ["soft_temperature_limit"], id="Pi 5, hot"),
        pytest.param(
            {PI_5: "4\n", **voltage(2, "rpi_volt", "1\n")},
            ["throttled"],
            id="the firmware's value before the sensor",
        ),
        pytest.param(
            {**voltage(0, "cpu_thermal", "1\n"), **voltage(3, "rpi_volt", "0\n")},
            [],
            id="a kernel without the value",
        ),
        pytest.param(
            {**voltage(0, "cpu_thermal", "0\n"), **voltage(10, "rpi_volt", "1\n")},
            ["under_voltage"],
            id="a kernel without the value, under-voltage",
        ),
        pytest.param(
            {PI_3_AND_4: "none", **voltage(1, "rpi_volt", "1\n")}, ["under_voltage"], id="garbled"
        ),
        pytest.param({PI_3_AND_4: "-1\n"}, None, id="a negative value"),
        pytest.param({PI_5: "1ffffffff\n"}, None, id="a value of 33 bits"),
        pytest.param(
            {PI_5: "-1\n", **voltage(1, "rpi_volt", "0\n")}, [], id="a negative value, voltage"
        ),
        pytest.param(voltage(1, "rpi_volt", "low\n"), None, id="garbled voltage"),
        pytest.param(voltage(1, "rpi_volt", "-1\n"), None, id="a negative alarm"),
        pytest.param(voltage(1, "nvme", "1\n"), None, id="another sensor"),
        pytest.param({}, None, id="no Pi"),
    ],
)
def test_throttling(tmp_path: Path, files: dict[str, str], flags: list[str] | None) -> None:
    assert board(tmp_path, files).throttled() == flags


@pytest.mark.parametrize(
    ("now", "highest", "mhz"),
    [
        ("1500000\n", "1800000\n", (1500.0, 1800.0)),
        ("none", "1800000", None),
        ("0", "1800000", None),
        ("9000000", "1800000", None),
    ],
)
def test_clock_frequency(
    tmp_path: Path, now: str, highest: str, mhz: tuple[float, float] | None
) -> None:
    folder = "sys/devices/system/cpu/cpu3/cpufreq"
    files = {f"{folder}/scaling_cur_freq": now, f"{folder}/cpuinfo_max_freq": highest}
    assert board(tmp_path, files).frequency_mhz(3) == mhz
    assert board(tmp_path, files).frequency_mhz(0) is None


def test_governor(tmp_path: Path) -> None:
    assert board(tmp_path, {}).governor() is None
    files = {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n"}
    assert board(tmp_path, files).governor() == "ondemand"


@pytest.mark.parametrize(
    ("files", "areas"),
    [
        ({}, None),
        ({"proc/swaps": ""}, None),
        ({"proc/swaps": "\n\n"}, None),
        ({"proc/swaps": "no such table\n"}, None),
        ({"proc/swaps": CARD}, None),
        ({"proc/swaps": SWAPS}, []),
        ({"proc/swaps": SWAPS + CARD}, ["/var/swap"]),
        ({"proc/swaps": SWAPS + ZRAM}, []),
        ({"proc/swaps": SWAPS + ZRAM, "sys/block/zram0/backing_dev": "none\n"}, []),
        (
            {"proc/swaps": SWAPS + ZRAM, "sys/block/zram0/backing_dev": "/dev/loop0\n"},
            ["/dev/zram0"],
        ),
        ({"proc/swaps": SWAPS + ZRAM + CARD}, ["/var/swap"]),
    ],
)
def test_swap_areas_on_storage(
    tmp_path: Path, files: dict[str, str], areas: list[str] | None
) -> None:
    assert board(tmp_path, files).swap_on_storage() == areas


SERVICE = "sys/fs/cgroup/system.slice/affect-edge.service"
CGROUP = {
    "proc/self/cgroup": "0::/system.slice/affect-edge.service\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
}
HYBRID = {"proc/self/cgroup": "4:memory:/a\n1:name=systemd:/\n"}


@pytest.mark.parametrize(
    ("files", "forbidden"),
    [
        pytest.param({}, False, id="no cgroups"),
        pytest.param(HYBRID, False, id="version 1"),
        pytest.param(CGROUP, False, id="no memory controller here"),
        pytest.param({**CGROUP, f"{SERVICE}/memory.swap.max": "max\n"}, False, id="allowed"),
        pytest.param({**CGROUP, f"{SERVICE}/memory.swap.max": "0\n"}, True, id="forbidden"),
        pytest.param(
            {
                **CGROUP,
                f"{SERVICE}/memory.swap.max": "max\n",
                "sys/fs/cgroup/system.slice/memory.swap.max": "0\n",
            },
            True,
            id="forbidden above",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../../outside\n", "sys/memory.swap.max": "0"},
            False,
            id="outside of the namespace",
        ),
        pytest.param({"proc/self/cgroup": "0::/\n"}, False, id="the root"),
        pytest.param({"proc/self/cgroup": "0:://\n"}, False, id="an absolute name"),
        pytest.param({"proc/self/cgroup": "0:://etc\n"}, False, id="another absolute name"),
        pytest.param({"proc/self/cgroup": "0::/.\n"}, False, id="a dot"),
    ],
)
def test_whether_the_cgroup_forbids_swap(
    tmp_path: Path, files: dict[str, str], forbidden: bool
) -> None:
    assert board(tmp_path, files).swap_forbidden() is forbidden


def test_whether_the_memory_cgroup_is_on(tmp_path: Path) -> None:
    assert not board(tmp_path, {}).has_memory_cgroup()
    pi_os = {"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n"}
    assert not board(tmp_path, pi_os).has_memory_cgroup()
    assert board(tmp_path, CGROUP).has_memory_cgroup()


FORBIDDEN = {**CGROUP, f"{SERVICE}/memory.swap.max": "0\n"}


@pytest.mark.parametrize(
    ("files", "locked", "state"),
    [
        ({"proc/swaps": SWAPS}, None, "off"),
        ({"proc/swaps": SWAPS + ZRAM}, False, "off"),
        ({"proc/swaps": SWAPS + CARD}, True, "prevented"),
        ({"proc/swaps": SWAPS + CARD}, False, "possible"),
        ({"proc/swaps": SWAPS + CARD}, None, None),
        ({"proc/swaps": SWAPS + CARD, **FORBIDDEN}, False, "prevented"),
        ({"proc/swaps": SWAPS + CARD, **FORBIDDEN}, None, "prevented"),
        ({}, False, None),
        ({}, True, "prevented"),
    ],
)
def test_swap_state(
    tmp_path: Path, files: dict[str, str], locked: bool | None, state: SwapState | None
) -> None:
    assert swap_state(board(tmp_path, files), memory_locked=locked) == state


def test_memory_size(tmp_path: Path) -> None:
    assert board(tmp_path, {}).memory_mb() is None
    files = {"proc/meminfo": "MemTotal:         927744 kB\nMemFree:   1 kB\n"}
    assert board(tmp_path, files).memory_mb() == 906.0


@pytest.mark.parametrize(
    ("configured", "memory_mb", "limit_mb"),
    [
        (300, 906.0, 300),
        ("auto", 416.0, 256),  # Zero 2 W
        ("auto", 906.0, 362),  # 1 GB
        ("auto", 1846.0, 738),  # 2 GB
        ("auto", 3792.0, 768),  # 4 GB
        ("auto", None, 768),
    ],
)
def test_memory_limit_of_a_worker(
    configured: int | str, memory_mb: float | None, limit_mb: int
) -> None:
    assert worker_rss_limit_mb(configured, memory_mb) == limit_mb  # type: ignore[arg-type]


def test_unreadable_cpu_files(tmp_path: Path) -> None:
    files = ["/proc/cpuinfo", "/sys/devices/system/cpu/possible"]
    assert board(tmp_path, {}).unreadable_cpu_files() == files
    empty = {"proc/cpuinfo": "", "sys/devices/system/cpu/possible": "0-3\n"}
    assert board(tmp_path, empty).unreadable_cpu_files() == files[:1]
    assert board(tmp_path, {"proc/cpuinfo": "processor: 0\n"}).unreadable_cpu_files() == []


def test_non_ascii_bytes_in_cpuinfo_are_tolerated(tmp_path: Path) -> None:
    here = board(tmp_path, {"sys/devices/system/cpu/possible": "0\n", "proc/cpuinfo": ""})
    assert here.has_garbled_cpuinfo()
    (tmp_path / "proc/cpuinfo").write_bytes(b"processor\t: 0\nModel\t: Caf\xe9\n")
    assert not here.has_garbled_cpuinfo()
    assert here.unreadable_cpu_files() == []
    (tmp_path / "proc/cpuinfo").write_bytes(bytes(range(128, 256)))
    assert here.has_garbled_cpuinfo()


def test_the_files_of_this_machine_are_readable() -> None:
    here = Board()
    assert (here.memory_mb() or 0) > 100
    assert here.unreadable_cpu_files() == []
    assert here.swap_on_storage() is not None
