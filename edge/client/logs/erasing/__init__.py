"""Erases a session from a log, and proves it; one module for each kind of log."""
