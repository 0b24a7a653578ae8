"""The sensors of Raspberry Pi cameras, with their modes as libcamera lists them on a Raspberry Pi.

The table ``sensors.csv`` has one row per mode.
"""

import csv
from pathlib import Path
from typing import NamedTuple


class Mode(NamedTuple):
    """One read-out mode.

    Attributes:
        format: libcamera's name of the raw format.
        bit_depth: bits per pixel.
        width: width of the delivered picture, pixels.
        height: height of the delivered picture, pixels.
        rate_max_hz: highest frame rate.
        crop: the part of the sensor that is read: x, y, width, height in pixels.
    """

    format: str
    bit_depth: int
    width: int
    height: int
    rate_max_hz: float
    crop: tuple[int, int, int, int]


class Sensor(NamedTuple):
    """A sensor: its full size in pixels, its modes, and whether its module can focus."""

    size: tuple[int, int]
    modes: tuple[Mode, ...]
    focuses: bool


def _read() -> dict[str, Sensor]:
    modes: dict[str, list[Mode]] = {}
    with Path(__file__).with_suffix(".csv").open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            x, y, width, height = map(int, row["crop"].split())
            modes.setdefault(row["sensor"], []).append(
                Mode(
                    row["format"],
                    int(row["bit_depth"]),
                    int(row["width"]),
                    int(row["height"]),
                    float(row["rate_max_hz"]),
                    (x, y, width, height),
                )
            )
    # one mode at least reads the whole sensor
    return {
        name: Sensor(max(mode.crop[2:] for mode in each), tuple(each), name == "imx708_noir")
        for name, each in modes.items()
    }


SENSORS = _read()
"""Sensor model as libcamera names it -> sensor."""
