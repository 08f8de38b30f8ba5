"""Strictness that every test runs under; set before any of them imports a module that traces."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the default run needs no accelerator
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # and no network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile("default", deadline=None)  # the first example of a shape compiles
hypothesis.settings.load_profile("default")
