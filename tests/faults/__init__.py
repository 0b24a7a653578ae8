"""Tests of faults and attacks; the long ones are run by `make faults`."""
