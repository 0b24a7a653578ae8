"""What every exporter shares: graph tools, conversion, quantization, parity, writing."""
