"""How far a translator agrees with the generator it was made from: as a picture, and as a face.

Pictures that look alike may still be read otherwise, and ones that do not, alike. So both are
measured: the pictures themselves, and what the expression network behind makes of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import ccc
from edge.errors import ModelError
from edge.models import Network
from edge.models.manifest import Limit
from edge.values import Luma
from exporters.agreement import kappa, psnr_db, ssim

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
    read: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for one, other in zip(known, made, strict=True):
        pair = one.astype(np.float32), other.astype(np.float32)
        psnr.append(psnr_db(*pair, _WHITE))
        likeness.append(ssim(*pair, _WHITE))
        for heads, luma in zip(read, (one, other), strict=True):
            heads.append(_read(judge, luma))
    right, seen = (np.stack(heads) for heads in read)
    labels, also = right[:, :-2].argmax(axis=1), seen[:, :-2].argmax(axis=1)
    return {
        "psnr_db": float(np.mean(psnr)),
        "psnr_db_p05": float(np.percentile(psnr, 5)),
        "ssim": float(np.mean(likeness)),
        "concordance": float(np.mean(labels == also)),
        "kappa": kappa(labels, also),
        "valence_ccc": ccc(seen[:, -2], right[:, -2]),
        "arousal_ccc": ccc(seen[:, -1], right[:, -1]),
    }


def _read(judge: Network, luma: Luma) -> NDArray[np.float64]:
    """Return the probabilities, valence and arousal of a face, in one row."""
    size = (judge.info.width, judge.info.height)
    face: Luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    heads = judge.run(face[None])
    return np.concatenate([heads["expression"][0], heads["affect"][0]]).astype(np.float64)
