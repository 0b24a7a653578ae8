"""Face mesh: landmarks, action coefficients, head pose and openness of eyes and mouth of a face.

J. Grishchenko et al.: *Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction* (2023).
A coefficient is a network's estimate of how far a facial action is shown; it is not a coded action
unit. To add another network: its decoder's name in a manifest, and a ``case`` below.
"""

from pathlib import Path

from edge.config import MeshConfig
from edge.vision.inference import Network, open_configured
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.mesh.network import FaceMeshNetwork


def open_mesh(
    config: MeshConfig, state_dir: Path | None = None, most_threads: MostThreads = ONE_THREAD
) -> FaceMeshNetwork | None:
    """Return the configured network, loaded, verified and run once; None if the mesh is off.

    ``state_dir`` is the daemon's folder, where the fastest artifact on this machine is recorded.
    ``most_threads``: where the configuration says ``auto``.

    Raises:
        ModelError: the model fails verification, or its decoder is unknown here.
    """
    if not config.enabled:
        return None
    return mesh_for(open_configured(config, "face-mesh", state_dir, most_threads))


def mesh_for(network: Network) -> FaceMeshNetwork:
    """Return the face mesh network that ``network``'s manifest names, run once.

    Raises:
        ModelError: its decoder is unknown here, or its outputs do not fit the decoder.
    """
    match network.manifest.decoder:
        case "face-mesh":
            return FaceMeshNetwork(network)
        case _:
            raise network.manifest.unknown_decoder("face-mesh")
