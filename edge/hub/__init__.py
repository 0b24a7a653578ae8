"""The hub: the process that holds the sockets, the numbering and the health, and no native vision.

It starts the worker, outlives it, and goes on publishing status while a new one starts.
"""
