"""Decoder of CycleGAN generators, whose output is a grey or RGB picture with values -1..1.

J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: *Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks* (ICCV 2017). NIR -> visible before an expression network
trained on visible light is approach 1 of Kalabis, *Facial expression analysis from NIR image*
(CTU Prague, 2024).
"""

from typing import Final

import numpy as np

from edge.vision.inference import Network
from edge.vision.values import Floats, Luma

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601, as OpenCV converts colour to grey)."""


class CycleGan:
    """A CycleGAN generator and its decoder. Owned by one thread; stateless between faces.

    ``info`` and ``golden``: see ``edge.vision.translate.Translator``.
    """

    def __init__(self, network: Network) -> None:
        """Wrap ``network`` and run it once, to check that its output has the size of its input.

        Raises:
            ModelError: its output is missing or has another shape, or it fails on a black picture.
        """
        self._network = network
        self.info = network.info
        self.golden = network.manifest.golden
        size = (network.info.height, network.info.width)
        first = [(1, channels, *size) for channels in (1, 3)]
        last = [(1, *size, channels) for channels in (1, 3)]
        picture = network.warm_up({"picture": first + last})["picture"]
        self._channels_last = picture.shape in last

    def translate(self, face: Luma) -> Luma:
        """Return the luma of the translated face; see ``edge.vision.translate.Translator``."""
        return luma_of(
            self._network.run(face[None])["picture"][0], channels_last=self._channels_last
        )


def luma_of(picture: Floats, *, channels_last: bool = False) -> Luma:
    """Return the luma, uint8 (height, width), of a picture with values -1..1.

    Args:
        picture: (channels, height, width), grey or RGB.
        channels_last: whether ``picture`` is (height, width, channels) instead.
    """
    planes = np.moveaxis(picture, 2, 0) if channels_last else picture
    grey = planes[0] if len(planes) == 1 else np.tensordot(_LUMA, planes, 1)
    levels: Luma = np.clip(np.rint((grey + 1) * np.float32(127.5)), 0, 255).astype(np.uint8)
    return levels
