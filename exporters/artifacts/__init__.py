"""Shared by all exporters: graph tools, conversion, quantization, parity, writing."""
