"""The live view of ``affect-edge tail`` in a terminal, and its present state printed once."""

from edge.tools.live.view import run_live, run_once

__all__ = ["run_live", "run_once"]
