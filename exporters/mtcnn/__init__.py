"""Exporter of MTCNN."""
