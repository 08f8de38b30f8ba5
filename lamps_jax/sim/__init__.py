"""Simulation: workloads, arrivals, and an engine whose device is a clock. Standard library only, so that it starts at once."""
