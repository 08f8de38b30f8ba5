"""Ahead-of-time compilation of the engine's programs for accelerators that the machine does not have."""
