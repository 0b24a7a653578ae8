"""``affect-edge check`` and ``models``: configuration, models, board and peers, before a start."""
