"""CycleGAN generators, PyTorch or ONNX -> model folders."""
