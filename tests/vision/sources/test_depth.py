"""Effective depth of pictures with more than 8 bits."""

import numpy as np
import pytest

from edge.vision.sources.depth import StreamDepth, effective_bits, to_eight_bits


def ramp(bits: int) -> np.ndarray:
    """A picture with all values of a sensor with this depth, from black to white."""
    return np.linspace(0, 2**bits - 1, 64 * 48).astype(np.uint16).reshape(48, 64)


@pytest.mark.parametrize(
    ("largest", "bits"),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (65535, 16)],
)
def test_smallest_depth_that_holds_the_value(largest: int, bits: int) -> None:
    assert effective_bits(largest) == bits


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_depth_goes_from_black_to_white(bits: int) -> None:
    reduced = to_eight_bits(ramp(bits), bits)
    assert reduced.dtype == np.uint8
    assert reduced.flags.c_contiguous
    assert (int(reduced.min()), int(reduced.max())) == (0, 255)
    assert np.array_equal(reduced, ramp(bits) >> (bits - 8))


def test_values_above_the_depth_are_white() -> None:
    assert to_eight_bits(np.array([[1023, 1024, 65535]], np.uint16), 10).tolist() == [[255] * 3]


def test_measured_depth_grows_and_never_shrinks() -> None:
    depth = StreamDepth(None)
    assert depth.reduce(ramp(8)).max() == 63  # a covered sensor: its noise is not amplified
    assert depth.reduce(ramp(10)).max() == 255
    assert depth.reduce(ramp(12)).max() == 255
    assert depth.reduce(ramp(10)).max() == 63  # a dark picture of the same stream
    assert depth.bits == 12


def test_configured_depth_is_kept() -> None:
    depth = StreamDepth(12)
    assert depth.reduce(ramp(10)).max() == 63
    assert depth.reduce(ramp(16)).max() == 255
    assert depth.bits == 12
