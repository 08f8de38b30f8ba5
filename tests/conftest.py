"""Strictness that every test runs under, and what makes many small programs cheap to compile.

Set before any test imports a module that traces, and inherited by the processes that tests start.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the default run needs no accelerator
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # and no network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Most programs of tests run a few times, on a few numbers: LLVM would take longer to optimise them than they take to run.
# What XLA makes of a program stays. Where LLVM's part in the numbers matters, tests ask for `optimised`.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# The command line keeps compiled programs in the user's cache, which tests neither read nor fill. The processes of a parallel run
# have one together: the first makes it, and removes it.
os.environ["XDG_CACHE_HOME"] = (
    os.environ["XDG_CACHE_HOME"] if "PYTEST_XDIST_WORKER" in os.environ else tempfile.mkdtemp(prefix="lamps-jax-cache-")
)

import hypothesis
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from lamps_jax.options import default_compile_cache

jax.config.update("jax_numpy_dtype_promotion", "strict")

# The first example of a shape compiles, hence no deadline. A run must not fail by chance where nothing was changed, so its
# examples are always the same; `thorough` looks for new ones.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Programs that a module's tests compile are optimised as they are where people are served."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")


@pytest.fixture(scope="module")
def compiled_before() -> Iterator[None]:
    """Programs of the embedded model, compiled by one module's tests, are found by the others that ask for this.

    Not for all tests: a program that is compiled once costs more with a cache than without.
    """
    changed = {
        "jax_compilation_cache_dir": default_compile_cache(),
        "jax_persistent_cache_min_compile_time_secs": 0.3,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in changed}
    for values in (changed, before):
        compilation_cache.reset_cache()
        for name, value in values.items():
            jax.config.update(name, value)
        if values is changed:
            yield
