"""The memory of keys and values on the device: a pytree of blocks, with pure writes and gathers."""
