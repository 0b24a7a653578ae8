"""Frames in, faces with expression and affect out; no threads, sockets or processes."""
