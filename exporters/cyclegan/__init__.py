"""Exports CycleGAN generators, PyTorch or ONNX, to model folders."""
