"""Recipes that train the bundled weights again: extra ``train``, not needed to export or run.

``python -m exporters.recipes --help``. The stages, in their order: ``train`` learns expression
from rated visible-light crops made to look near-infrared; ``adapt`` tunes the result on annotated
NIR photographs, leaving people out to decide and to report, and writes the ONNX checkpoint.
"""
