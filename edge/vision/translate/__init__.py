"""Spectrum translation: converts a near-infrared face to visible light, before classification.

To add a translator: a file here, its decoder's name in a manifest, a ``case`` below, and a line in
``tests/support/networks.py``.
"""

from pathlib import Path
from typing import Protocol

from edge.config import TranslatorConfig
from edge.vision.inference import Network, NetworkInfo, open_configured
from edge.vision.inference.golden_schema import Golden
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.values import Luma


class Translator(Protocol):
    """Translates faces. Owned by one thread; stateless between faces."""

    @property
    def info(self) -> NetworkInfo:
        """Which artifact of which model runs, and the size of the picture that it takes."""

    @property
    def golden(self) -> Golden | None:
        """Its expected answer to the golden face (see ``edge.vision.golden``); None: unknown."""

    def translate(self, face: Luma) -> Luma:
        """Return the luma of the face in visible light, uint8, of the size of ``face``.

        Args:
            face: a square around a face, uint8 (height, width), of the size in ``info``.

        Raises:
            InferenceError: the network failed on this face.
        """


def open_translator(
    config: TranslatorConfig, state_dir: Path | None = None, most_threads: MostThreads = ONE_THREAD
) -> Translator | None:
    """Return the configured translator, loaded, verified and run once; None if none is set.

    ``state_dir`` is the daemon's folder, where the fastest artifact on this machine is recorded.
    ``most_threads``: where the configuration says ``auto``.

    Raises:
        ModelError: the model fails verification, or its decoder is unknown here.
    """
    if not config.model:
        return None
    return translator_for(open_configured(config, "spectrum-translation", state_dir, most_threads))


def translator_for(network: Network) -> Translator:
    """Return the translator that ``network``'s manifest names, run once.

    Raises:
        ModelError: its decoder is unknown here, or its outputs do not fit the decoder.
    """
    match network.manifest.decoder:
        case "cyclegan":
            from edge.vision.translate.cyclegan import CycleGan  # noqa: PLC0415

            return CycleGan(network)
        case _:
            raise network.manifest.unknown_decoder("cyclegan")
