"""The hub: the process with sockets, numbering and health; it loads no native vision code.

It starts the worker, outlives it, and goes on publishing status while a new one starts.
"""
