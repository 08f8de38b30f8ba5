"""Deciding: which requests run in each step, on which blocks. Standard library only: no JAX, no NumPy."""
