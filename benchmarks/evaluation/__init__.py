"""Figures on plain arrays and on annotated pictures; what exporters and benchmarks judge by."""
