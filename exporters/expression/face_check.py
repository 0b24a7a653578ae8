"""Checks an expression network with the golden face, which smiles.

A wrong order of classes, other preprocessing or channels in another order raise no error. So a
network that does not see a smile is refused, in one line that says which known order of classes or
normalisation would have made it see one.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edge.errors import ModelError
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.values import Box, Floats, Luma
from exporters.artifacts.input_folding import normalise_by
from exporters.expression.golden import FACE
from exporters.expression.known import IMAGENET, ORDERS
from exporters.expression.original import Original, Preparation

_EXPECTED: Final = "happy"
_UNSURE: Final = 0.5
"""Below this probability of a smile another normalisation is tried, too."""
_BETTER: Final = 0.3
"""Another normalisation whose probability is this much higher is reported."""
_SEEN: Final = 0.5
"""Probability of a smile from which another order or normalisation is a likely remedy."""
_CAFFE: Final = (123.68, 116.78, 103.94)
"""Mean of ImageNet's pictures in 0..255: red, green, blue."""


def check_channels(mean: Sequence[float], channels: str) -> None:
    """Check that a known mean is in the order of the network's channels.

    Args:
        mean: one number per channel, as the user states it.
        channels: ``rgb`` or ``bgr``, the order of the network's input.

    Raises:
        ModelError: it is ImageNet's mean in the other order; one line.
    """
    if len(mean) != 3:
        return
    for known in (IMAGENET[0], _CAFFE):
        if not np.allclose(sorted(mean), sorted(known), rtol=0.01):
            continue
        other = {"rgb": "bgr", "bgr": "rgb"}[channels]
        expected = known if channels == "rgb" else known[::-1]
        if not np.allclose(mean, expected, rtol=0.01):
            text = " ".join(f"{each:g}" for each in mean)
            raise ModelError(
                f"--mean {text}: ImageNet's mean for {other.upper()}, and the network is said to"
                f" take {channels.upper()}; expected {' '.join(f'{each:g}' for each in expected)},"
                f" or --channels {other}"
            )


def face_check(original: Original, *, where: str) -> str:
    """Check that the network sees the smile of the golden face; return what it sees, as text.

    Args:
        original: the network with its labels and preprocessing.
        where: begins the message.

    Raises:
        ModelError: it does not, or would with another normalisation much more clearly; one line.
    """
    labels = original.preparation.options.labels
    if _EXPECTED not in labels:
        return f"not checked: {_EXPECTED} is not among its labels"
    picture, _ = golden_picture()
    crop = square_crop(picture, Box(*FACE), original.source.size, original.preparation.margin)
    shares = original.classes(crop)
    best = int(shares.argmax())
    share = float(shares[labels.index(_EXPECTED)])
    is_seen = labels[best] == _EXPECTED
    if is_seen and share >= _UNSURE:
        return f"{_EXPECTED} {share:.2f}"
    better = _other_normalisation(original, crop, labels, share)
    if is_seen and not better:
        return f"{_EXPECTED} {share:.2f}"
    if not is_seen:
        better = _other_order(shares, labels) or better
    reason = better or (
        "neither another known order of classes nor another normalisation makes it happy: is the"
        " network trained?"
    )
    raise ModelError(
        f"{where}: golden face: {labels[best]} {shares[best]:.2f}, expected {_EXPECTED}, since the"
        f" face smiles; {reason} (--unverified writes it all the same)"
    )


def _other_order(shares: Floats, labels: Sequence[str]) -> str:
    """Return which known order of classes gives a smile; empty: none does."""
    best = int(shares.argmax())
    if shares[best] < _SEEN:
        return ""
    names = [
        name
        for name, order in ORDERS.items()
        if len(order) == len(labels) and tuple(labels) != order and order[best] == _EXPECTED
    ]
    if not names:
        return ""
    return f"with the order of {' or '.join(names)} it is happy: wrong --labels or --network"


def _other_normalisation(
    original: Original, crop: Luma, labels: Sequence[str], share: float
) -> str:
    """Return which common normalisation gives a clearer smile; empty: none does."""
    place = labels.index(_EXPECTED)
    found = []
    for text, preparation in _alternatives(original):
        values = original.classes(crop, preparation)
        if int(values.argmax()) == place:
            found.append((float(values[place]), text))
    clearest = max(found, default=(0.0, ""))
    if clearest[0] < max(_SEEN, share + _BETTER):
        return ""
    return (
        f"with {clearest[1]} it is happy {clearest[0]:.2f}: wrong --normalisation, --value-range,"
        " --mean or --std"
    )


def _alternatives(original: Original) -> list[tuple[str, Preparation]]:
    """Return common preprocessings, each with the options that state it."""
    channels = original.source.channels
    given = original.preparation
    identity = normalise_by(channels, np.zeros(1), np.ones(1))

    def fixed(mean: Sequence[float], std: Sequence[float]) -> Preparation:
        count = slice(0, 3 if channels == 3 else 1)
        affine = normalise_by(channels, np.array(mean[count]), np.array(std[count]))
        return Preparation("fixed", (0.0, 1.0), affine, given.margin, given.options)

    make: Callable[..., Preparation] = Preparation
    return [
        ("--normalisation none", make("none", (0.0, 1.0), identity, given.margin, given.options)),
        *(
            (
                f"--normalisation none --value-range {low:g} {high:g}",
                make("none", (low, high), identity, given.margin, given.options),
            )
            for low, high in ((-1.0, 1.0), (0.0, 255.0))
        ),
        (
            "--normalisation standardised",
            make("standardised", (0.0, 1.0), identity, given.margin, given.options),
        ),
        (
            "--normalisation thesis",
            make("thesis", (0.0, 2.0), identity, given.margin, given.options),
        ),
        ("ImageNet's mean and std", fixed(*IMAGENET)),
    ]
