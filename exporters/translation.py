"""How far a translator agrees with the generator it was made from: as a picture, and as a face.

Pictures that look alike may still be read otherwise, and ones that do not, alike. So both are
measured: the pictures themselves, and what the expression network behind makes of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from edge.errors import ModelError
from edge.vision.inference import Network
from edge.vision.inference.manifest import Limit
from edge.vision.resize import resize_area
from edge.vision.values import Luma
from exporters.agreement import psnr_db, read_all, readings_agreement, ssim

TRANSLATION_LIMITS: Final[Mapping[str, Limit]] = {
    "psnr_db": Limit(at_least=30.0),
    "ssim": Limit(at_least=0.95),
    "concordance": Limit(at_least=0.95),
    "valence_ccc": Limit(at_least=0.98),
    "arousal_ccc": Limit(at_least=0.98),
}
"""What an int8 translator has to keep. A small trained one kept 48 dB, 0.98 and 0.999; where it
kept 35 dB, the label of one face in sixteen changed."""

_WHITE: Final = 255.0


def translation_agreement(
    known: Sequence[Luma], made: Sequence[Luma], judge: Network
) -> dict[str, float]:
    """Return the figures of a translator against its float original.

    ``psnr_db`` and ``ssim``: of the luma, means over the faces; ``psnr_db_p05`` the 5th
    percentile. ``concordance``: share of faces that ``judge`` gives the same likeliest label;
    ``kappa``: that agreement beyond chance; ``valence_ccc`` and ``arousal_ccc``: Lin's concordance
    correlation of its two values.

    Args:
        known: what the original makes of some faces: their luma, uint8 (height, width).
        made: what another artifact of the same generator makes of the same faces.
        judge: the expression network behind.

    Raises:
        InferenceError: a network fails.
        ModelError: there are no faces.
    """
    if not known:
        raise ModelError("parity: no faces to judge a translator with; give pictures of faces")
    psnr: list[float] = []
    likeness: list[float] = []
    for one, other in zip(known, made, strict=True):
        pair = one.astype(np.float32), other.astype(np.float32)
        psnr.append(psnr_db(*pair, _WHITE))
        likeness.append(ssim(*pair, _WHITE))
    readings = (
        read_all(judge, [_scaled(luma, judge) for luma in lumas]) for lumas in (known, made)
    )
    return {
        "psnr_db": float(np.mean(psnr)),
        "psnr_db_p05": float(np.percentile(psnr, 5)),
        "ssim": float(np.mean(likeness)),
        **readings_agreement(*readings),
    }


def _scaled(luma: Luma, judge: Network) -> Luma:
    size = (judge.info.width, judge.info.height)
    return resize_area(luma, size)
