"""Exports CenterFace graphs to model folders."""
