"""Exports expression networks, ONNX or Keras 2, to model folders."""
