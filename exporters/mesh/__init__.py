"""Exporter of the face mesh: landmarks and action coefficients."""
