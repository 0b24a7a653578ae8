"""Expression recognition: predicts expression, valence and arousal of a face in a frame.

To add a network: its decoder's name in a manifest, a file here if its outputs need another decoder,
a ``case`` below, and a line in ``tests/support/networks.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge.clock import Stopwatch
from edge.config import ExpressionConfig
from edge.vision.inference import Network, NetworkInfo, open_configured
from edge.vision.inference.golden_schema import Golden
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.translate import Translator
from edge.vision.values import Box, Floats, Frame, Prediction


class ExpressionNetwork(Protocol):
    """Predicts the expression of faces. Owned by one thread; stateless between faces."""

    @property
    def info(self) -> NetworkInfo:
        """Which artifact of which model runs."""

    @property
    def golden(self) -> Golden | None:
        """Its expected answer to the golden face, without priors (see ``edge.vision.golden``)."""

    @property
    def without_priors(self) -> "ExpressionNetwork":
        """The same network without the configured priors; ``golden`` describes this one."""

    def predict(
        self, frame: Frame, box: Box, stopwatch: Stopwatch, translator: Translator | None = None
    ) -> Prediction:
        """Return the expression, valence and arousal of the face in ``box``.

        ``box`` is in pixels of the full frame. With a ``translator`` the network receives the
        translated face. Laps ``crop``, ``translate`` (with a translator) and ``classify``.

        Raises:
            InferenceError: the network or the translator failed on this face.
        """

    @property
    def takes_coefficients(self) -> bool:
        """Whether ``with_mesh`` changes a prediction."""

    def with_mesh(self, prediction: Prediction, coefficients: Floats) -> Prediction:
        """Return a prediction of ``predict``, corrected by what the face mesh measured.

        Args:
            prediction: for a face.
            coefficients: float32 (52,), of the same face's mesh, at most a second older.
        """


def open_expression(
    config: ExpressionConfig, state_dir: Path | None = None, most_threads: MostThreads = ONE_THREAD
) -> ExpressionNetwork:
    """Return the configured expression network, loaded, verified and run once.

    ``state_dir`` is the daemon's folder, where the fastest artifact on this machine is recorded.
    ``most_threads``: where the configuration says ``auto``.

    Raises:
        ModelError: the model fails verification, or its decoder is unknown here.
    """
    network = open_configured(config, "facial-expression", state_dir, most_threads)
    # a copy: the type of a mapping's keys is invariant
    return expression_for(network, dict(config.priors.items()))


def expression_for(network: Network, priors: Mapping[str, float]) -> ExpressionNetwork:
    """Return the expression network that ``network``'s manifest names, run once.

    Args:
        network: a loaded facial-expression network.
        priors: share of all faces by expression; empty: all equally likely.

    Raises:
        ModelError: its decoder is unknown here, or its outputs do not fit the decoder.
    """
    match network.manifest.decoder:
        case "mobilenet-fer" | "classifier":
            from edge.vision.expression.heads import ExpressionHeads  # noqa: PLC0415

            return ExpressionHeads(network, priors)
        case _:
            raise network.manifest.unknown_decoder("mobilenet-fer", "classifier")
