"""Agreement of a translator with its original generator, in pictures and in predictions.

Similar pictures can have different predictions, and different pictures the same ones. So both are
compared: the pictures, and the predictions of the expression network that follows the translator.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.expression_agreement import predict_all, prediction_agreement
from edge.errors import ModelError
from edge.vision.inference import Network
from edge.vision.resize import resize_area
from edge.vision.values import Floats, Luma

_WHITE: Final = 255.0
_WINDOW: Final = 1.5  # standard deviation of SSIM's window, pixels


def translation_agreement(
    known: Sequence[Luma], made: Sequence[Luma], expression: Network
) -> dict[str, float]:
    """Return the figures of a translator against its original generator.

    ``psnr_db`` and ``ssim``: of the luma, means over the faces; ``psnr_db_p05`` is the 5th
    percentile. The others are those of ``prediction_agreement``, for ``expression`` on both sets of
    pictures.

    Args:
        known: pictures that the original generates for some faces: luma, uint8 (height, width).
        made: pictures that another artifact of it generates for the same faces.
        expression: the expression network that follows the translator.

    Raises:
        InferenceError: a network fails.
        ModelError: there are no faces.
    """
    if not known:
        raise ModelError("parity: no faces to evaluate a translator on; give pictures of faces")
    psnr: list[float] = []
    similarity: list[float] = []
    for one, other in zip(known, made, strict=True):
        pair = one.astype(np.float32), other.astype(np.float32)
        psnr.append(psnr_db(*pair, _WHITE))
        similarity.append(ssim(*pair, _WHITE))
    predictions = (
        predict_all(expression, [_scaled(luma, expression) for luma in lumas])
        for lumas in (known, made)
    )
    return {
        "psnr_db": float(np.mean(psnr)),
        "psnr_db_p05": float(np.percentile(psnr, 5)),
        "ssim": float(np.mean(similarity)),
        **prediction_agreement(*predictions),
    }


def _scaled(luma: Luma, expression: Network) -> Luma:
    size = (expression.info.width, expression.info.height)
    return resize_area(luma, size)


def psnr_db(one: Floats, other: Floats, span: float) -> float:
    """Return the peak signal-to-noise ratio of two pictures, dB; 120 where they are equal.

    Args:
        one: a picture.
        other: another of the same shape.
        span: the largest difference that two of their values can have.
    """
    error = float(np.mean((one.astype(np.float64) - other) ** 2)) / span**2
    return -10 * float(np.log10(max(error, 1e-12)))


def ssim(one: Floats, other: Floats, span: float) -> float:
    """Return the structural similarity of two pictures (height, width), at most 1.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: Image quality assessment: from error
    visibility to structural similarity, 2004, with its Gaussian window and constants.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = cv2.GaussianBlur(values, (11, 11), _WINDOW)
        return blurred

    c_1, c_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    shared = mean(x * y) - mean_x * mean_y
    upper = (2 * mean_x * mean_y + c_1) * (2 * shared + c_2)
    return float(np.mean(upper / ((mean_x**2 + mean_y**2 + c_1) * (variance_x + variance_y + c_2))))
