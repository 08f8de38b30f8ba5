"""``lamps-jax doctor``: what this machine can do, and whether it computes the same as another one."""
