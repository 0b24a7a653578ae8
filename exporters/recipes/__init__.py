"""Recipes to train the bundled weights again; they need the extra ``train``, the daemon does not.

See ``python -m exporters.recipes --help``. Stage ``train`` learns expressions from visible-light
crops (FER+) that are augmented to look near-infrared. Stage ``adapt`` recalibrates the result on
annotated near-infrared photographs, evaluates it leaving one person out, and writes the ONNX file.
"""
