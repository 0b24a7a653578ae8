"""Expression networks, ONNX or Keras 2 -> model folders."""
