"""Exporter of RetinaFace."""
