"""Table of known expression networks: order of classes, preprocessing, origin.

A file of weights states none of these, and a wrong one raises no error: the network names wrong
expressions, or sees every face as calm. So the user names the network, and this table tells the
rest; ``face_check`` compares the result with a face that smiles.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge.errors import ModelError
from edge.vocabulary import EXPRESSIONS

if TYPE_CHECKING:  # the command line's help needs no ONNX
    from exporters.expression.heads import Affect

Padding = Literal["same", "symmetric"]
"""How convolutions of stride 2 pad: as TensorFlow (more below and right), or equally."""

ANCHORS: Final[Mapping[str, tuple[float, float]]] = {
    "neutral": (0.0, 0.0), "happy": (0.92, 0.15), "sad": (-0.84, -0.4), "surprise": (0.3, 0.85),
    "fear": (-0.1, 0.8), "disgust": (-0.64, 0.5), "anger": (-0.44, 0.8), "contempt": (-0.55, 0.45),
}  # fmt: skip
"""Valence and arousal of each expression at full intensity, after AffectNet (Kalabis 2024, table
3.1). The table lacks contempt: its anchor is near that of disgust, less intense."""

ANCHORS_ORIGIN: Final = (
    "class anchors after AffectNet (Kalabis 2024, table 3.1; contempt near disgust)"
)

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's pictures: red, green, blue, in 0..1."""

_ALPHABETIC: Final = (
    "anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise",
)  # fmt: skip
_FER2013: Final = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_FERPLUS: Final = (
    "neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt",
)  # fmt: skip


def without_contempt(labels: Collection[str]) -> tuple[str, ...]:
    """Return ``labels`` in their order, without contempt."""
    return tuple(label for label in labels if label != "contempt")


ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "AffectNet": EXPRESSIONS,
    "HSEmotion": _ALPHABETIC,
    "FER2013": _FER2013,
    "FER+": _FERPLUS,
    "AffectNet without contempt": without_contempt(EXPRESSIONS),
    "HSEmotion without contempt": without_contempt(_ALPHABETIC),
}
"""Orders of classes in use, to say which one would fit."""


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """A published expression network, or an architecture.

    Attributes:
        orders: its orders of classes, of different lengths; empty: the user states the order.
        size: width and height of its pictures where a state dict leaves it open, pixels.
        affect: values of its regressor, if it has one.
        padding: of its convolutions of stride 2.
        norm_epsilon: of its batch norms.
        citation: publication to cite.
    """

    orders: tuple[tuple[str, ...], ...]
    size: int
    affect: "Affect" = "auto"
    padding: Padding = "symmetric"
    norm_epsilon: float = 1e-5
    citation: str = ""


_HSEMOTION_CITATION: Final = (
    "A. V. Savchenko, L. V. Savchenko, I. Makarov: Classifying emotions and engagement in online"
    " learning based on a single facial expression recognition neural network. IEEE Transactions on"
    " Affective Computing 13(4), 2022"
)
_DDAMFN_CITATION: Final = (
    "S. Zhang, Y. Zhang, Y. Zhang, Y. Wang, Z. Song: A Dual-Direction Attention Mixed Feature"
    " Network for Facial Expression Recognition. Electronics 12(17), 2023"
)

KNOWN: Final[Mapping[str, KnownNetwork]] = {
    "hsemotion": KnownNetwork(
        orders=(_ALPHABETIC, without_contempt(_ALPHABETIC)),
        size=224,
        affect="signed",
        padding="same",
        norm_epsilon=1e-3,
        citation=_HSEMOTION_CITATION,
    ),
    "ddamfn": KnownNetwork(
        orders=(EXPRESSIONS, without_contempt(EXPRESSIONS)), size=112, citation=_DDAMFN_CITATION
    ),
    "tf-efficientnet": KnownNetwork((), 224, "signed", "same", 1e-3),
    "efficientnet": KnownNetwork((), 224, "signed"),
}
"""``--network`` -> the network. All take ImageNet's normalisation. HSEmotion's networks are timm's
``tf_efficientnet_*``; ``efficientnet`` is timm's without ``tf_``."""


def order_for(name: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Return the order of classes of a known network.

    Args:
        name: a key of ``KNOWN`` that has orders.
        sizes: number of values of each output; one may hold two more, valence and arousal.

    Raises:
        ModelError: no output has as many values as one of its orders; one line.
    """
    orders = KNOWN[name].orders
    for extra in (0, 2):
        for order in orders:
            if len(order) + extra in sizes.values():
                return order
    counts = " or ".join(str(len(order)) for order in orders)
    given = ", ".join(f"{output} of {size} values" for output, size in sizes.items())
    raise ModelError(f"--network {name} has {counts} classes; this one gives {given}")
