"""Recordings to tables, summary and plots, many at a time: ``affect-edge analyse``."""
