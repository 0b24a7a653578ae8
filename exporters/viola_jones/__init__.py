"""Exporter of Viola-Jones."""
