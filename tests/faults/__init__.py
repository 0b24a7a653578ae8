"""Long tests of faults, run by `make faults`."""
