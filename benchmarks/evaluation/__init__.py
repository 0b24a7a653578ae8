"""Figures on plain arrays and on annotated pictures, for benchmarks and exporters."""
