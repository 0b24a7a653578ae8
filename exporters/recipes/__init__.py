"""Recipes that train the bundled weights again: extra ``train``, not needed to export or run.

``python -m exporters.recipes --help``. The stages, in their order: ``train`` learns expression
from visible-light crops (FER+) that are augmented to look near-infrared; ``adapt`` recalibrates the
result on annotated NIR photographs, evaluated leaving one person out, and writes the ONNX file.
"""
