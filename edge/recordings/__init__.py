"""Recordings, analysed without a daemon: as results in Python, or as tables in a folder.

The stages are those of the daemon, and so are the results: ``edge.vision.pipeline``.
"""
