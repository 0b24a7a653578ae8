"""Exporter of YuNet."""
