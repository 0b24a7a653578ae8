"""Whose face it is: codes of tracks and seats, and the neutral baselines of codes."""
