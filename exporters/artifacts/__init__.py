"""Shared by all exporters: graph rewriting, conversion, quantisation, parity, writing."""
