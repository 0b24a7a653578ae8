"""The sensor modes of Raspberry Pi cameras, as libcamera lists them on a Raspberry Pi."""

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
    """A sensor: its full size, its modes, and whether its module can focus."""

    size: tuple[int, int]
    modes: tuple[Mode, ...]
    focuses: bool = False


def _modes(format_name: str, *rows: tuple[int, int, float, tuple[int, int, int, int]]):
    bits = int("".join(c for c in format_name.partition("_")[0] if c.isdigit()))
    return tuple(Mode(format_name, bits, *row) for row in rows)


_IMX219 = (
    (640, 480, 206.65, (1000, 752, 1280, 960)),
    (1640, 1232, 41.85, (0, 0, 3280, 2464)),
    (1920, 1080, 47.57, (680, 692, 1920, 1080)),
    (3280, 2464, 21.19, (0, 0, 3280, 2464)),
)

SENSORS = {
    "imx219": Sensor((3280, 2464), _modes("SRGGB10_CSI2P", *_IMX219) + _modes("SRGGB8", *_IMX219)),
    "ov5647": Sensor(
        (2592, 1944),
        _modes(
            "SGBRG10_CSI2P",
            (640, 480, 58.92, (16, 0, 2560, 1920)),
            (1296, 972, 46.34, (0, 0, 2592, 1944)),
            (1920, 1080, 32.81, (348, 434, 1928, 1080)),
            (2592, 1944, 15.63, (0, 0, 2592, 1944)),
        ),
    ),
    "imx708_noir": Sensor(
        (4608, 2592),
        _modes(
            "SBGGR10_CSI2P",
            (1536, 864, 120.13, (768, 432, 3072, 1728)),
            (2304, 1296, 56.03, (0, 0, 4608, 2592)),
            (4608, 2592, 14.35, (0, 0, 4608, 2592)),
        ),
        focuses=True,
    ),
    "imx477": Sensor(
        (4056, 3040),
        _modes("SRGGB10_CSI2P", (1332, 990, 120.05, (696, 528, 2664, 1980)))
        + _modes(
            "SRGGB12_CSI2P",
            (2028, 1080, 50.03, (0, 440, 4056, 2160)),
            (2028, 1520, 40.01, (0, 0, 4056, 3040)),
            (4056, 3040, 10.0, (0, 0, 4056, 3040)),
        ),
    ),
}
