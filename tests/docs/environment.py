"""What the programs of documents and examples run in: as their readers have it, but for a cache of compiled programs for all."""

import os

from lamps_jax.options import default_compile_cache

_OUTER_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS"}
"""What `make test ARGS=…` would hand on to a `make` inside of a test."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _OUTER_MAKE} | {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    "JAX_COMPILATION_CACHE_DIR": default_compile_cache(),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
