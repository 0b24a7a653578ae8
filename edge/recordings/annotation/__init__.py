"""Recordings and pictures with faces and affect drawn into them: ``affect-edge annotate``."""
